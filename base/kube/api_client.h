// ApiClient: GET requests to one Kubernetes API server, each answer handed over as it arrives. HTTP/1.1, one connection per
// request at a time; a connection whose answer was whole is kept for the next request. Credentials are read from their files
// for every new connection and every request, so that renewed ones are used without a restart.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "base/http/message.h"
#include "base/kube/kubeconfig.h"
#include "base/loop/loop.h"
#include "base/net/name_lookup.h"
#include "base/net/tls.h"

namespace base::kube {

struct ApiHandler {  // all three are needed; each may drop the call
  std::function<void(int status, const Headers&)> on_head;
  std::function<void(std::string_view)> on_body;        // in pieces, of whatever status
  std::function<void(const Result<void>&)> on_end;      // once and last: the answer is whole, or why it is not
};

class ApiCall {
 public:
  virtual ~ApiCall() = default;  // cancels
};

class ApiClient {
 public:
  virtual ~ApiClient() = default;  // after its calls
  // Callbacks come from the loop, never from inside get().
  virtual std::unique_ptr<ApiCall> get(const std::string& target, ApiHandler) = 0;
  virtual std::string server() const = 0;  // "https://10.0.0.1:6443", for messages
};

struct ApiClientOptions {
  std::function<Result<ApiAccess>()> access;  // asked for each new connection; the last good answer is kept
  std::function<WallTime()> wall;             // what certificates are checked against
  std::function<WallTime()> starts_by;        // and their start, if something else (DateRules)
  std::function<void(WallTime)> on_time;      // what the server says it is, over a verified connection; may be empty
  uint32_t socket_mark = 0;
  Duration connect_within = 10s;              // TLS handshake included
  std::string user_agent = "edgemeshd";
};

std::unique_ptr<ApiClient> make_api_client(Loop&, ApiClientOptions);

}  // namespace base::kube
