#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

// AddressSanitizer asks for its defaults here: an allocation that is too large fails as it does without it, so that the
// program's own answer to that can be tested.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
