// The addresses of a host name, as the machine's own resolver gives them (hosts file, DNS), without holding up the loop: the
// lookup runs on a thread of its own, at most one per NameLookup. For the few names a configuration holds; service names are dns/'s.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/loop/loop.h"
#include "base/net/addr.h"

namespace base {

class NameLookup {
 public:
  virtual ~NameLookup() = default;  // the callback does not come any more
};

// The callback comes once, from the loop; an address literal is its own answer. The list is never empty.
std::unique_ptr<NameLookup> look_up_name(Loop&, const std::string& host, std::function<void(Result<std::vector<IpAddr>>)>);

}  // namespace base
