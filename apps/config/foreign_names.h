#pragma once
// Names of other code bases, mdistiller's above all, that are none of ours or mean something else here.
#include <string>

namespace mlkd {

// What to say of a name that was refused as the value of `key` ("distiller.type"), or as a key ("" as `key`, and the name's last
// part): which of ours is which. "" for a name that is not known elsewhere. Upper and lower case alike.
std::string foreign_name(const std::string& key, const std::string& name);

// A word about a method of mdistiller's that is not among ours; "" for any other text.
std::string missing_method(const std::string& name);

}  // namespace mlkd
