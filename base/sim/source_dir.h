// Where the sources are, for tests that hold a page, a manifest or a list of cases to the code. One function, so that only one
// object depends on the place of the checkout and a compiler cache serves all the others to another checkout.
#pragma once

#include <string>

namespace base {

std::string source_path(const std::string& below);  // "docs/x.md" -> its absolute path

}  // namespace base
