#include "engine/error.h"

#include <doctest/doctest.h>

using namespace mlkd;

TEST_CASE("a broken promise inside the program is named without its source text") {
    const int count = 3;
    CHECK_THROWS_WITH_AS(MLKD_CHECK(count == 4, "there should be four"), "there should be four [internal check]", Error);
    CHECK_NOTHROW(MLKD_CHECK(count == 3, "there should be three"));
}
