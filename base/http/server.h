// An HTTP/1.1 server for the daemon's own surfaces (admin, metrics). One handler; it answers at once or later through the
// responder it is given. Connections, time for a request and idle time are bounded.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/core/result.h"
#include "base/core/unique_fd.h"
#include "base/http/message.h"
#include "base/loop/loop.h"
#include "base/net/socket.h"

namespace base {

struct HttpPeer {
  std::optional<PeerCredentials> credentials;  // on a unix socket: who is asking, by the kernel's word
  std::string address;                         // "127.0.0.1:41000", or "unix"
};

class HttpServer {
 public:
  // May be kept and called later, once, on the loop; does nothing when the connection is gone or for a second call.
  using Respond = std::function<void(Response)>;
  using Handler = std::function<void(const Request&, const HttpPeer&, Respond)>;
  struct Options {
    size_t connections_max = 64;
    size_t body_bytes_max = 1 << 20;
    Duration idle = 60s;      // between requests
    Duration request = 10s;   // from the first byte of a request to its last
    Duration answer = 60s;    // for the handler
  };
  // listener: TCP or unix, non-blocking.
  static std::unique_ptr<HttpServer> make(Loop&, UniqueFd listener, Handler, Options);
  static std::unique_ptr<HttpServer> make(Loop& loop, UniqueFd listener, Handler h) { return make(loop, std::move(listener), std::move(h), Options()); }
  virtual ~HttpServer() = default;
  virtual void drain() = 0;  // accepts no more; connections close after the answer they owe
  virtual size_t connections() const = 0;
};

}  // namespace base
