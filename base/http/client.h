// One HTTP/1.1 request over a connection of its own (edgemeshctl to the admin socket, probes). The callback comes once, from
// the loop; dropping the call cancels it.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <variant>

#include "base/core/limits.h"
#include "base/core/result.h"
#include "base/http/message.h"
#include "base/loop/loop.h"
#include "base/net/addr.h"

namespace base {

struct UnixPath {
  std::string path;
};
using HttpTarget = std::variant<UnixPath, IpPort>;

class HttpCall {
 public:
  virtual ~HttpCall() = default;
};

// Errors name the target and, for a unix socket nobody serves, the mend.
std::unique_ptr<HttpCall> http_call(Loop&, const HttpTarget&, const Request&, Duration deadline, std::function<void(Result<Response>)>,
                                    size_t body_max = limits::kHttpBodyBytesMax);

}  // namespace base
