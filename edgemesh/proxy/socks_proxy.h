// SocksProxy: a SOCKS5 server for this host and its pods, for programs that name a node of the mesh or one of its services
// (`ssh` through it reaches `node-b:22` wherever node-b is). What a name or address leads to is the owner's to say, by `ways`: this
// is no open proxy, and what nobody named there is refused.
//
//   client -> dialogue (socks_message.h) -> ways -> resolve -> dial -> answer -> Pump
//
// Every failure has its code (docs/guide/socks5.md has the table). Bounds: connections, 10 s for the dialogue, connect_timeout for
// all ways together, idle_timeout afterwards. A wrong login is answered after a second. Control loop only.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/core/metrics.h"
#include "base/core/result.h"
#include "base/loop/loop.h"
#include "base/loop/socket_store.h"
#include "base/net/addr.h"
#include "edgemesh/proxy/pump.h"
#include "edgemesh/proxy/socks_message.h"
#include "edgemesh/proxy/socks_users.h"

namespace edgemesh {

class SocksProxy {
 public:
  struct Config {
    base::IpPort listen;
    uint32_t socket_mark = 0;
    base::Duration connect_timeout = std::chrono::seconds(10);
    base::Duration idle_timeout = std::chrono::hours(24);
    size_t connections_max = 1024;
  };
  struct Place {  // what is dialled
    base::IpPort at;
    std::shared_ptr<void> hold;  // kept until the connection ends: what makes the address reachable
  };
  using Resolved = std::function<void(base::Result<Place>)>;
  struct Way {         // one endpoint to try
    std::string name;  // for log lines
    std::function<void(Resolved)> resolve;
  };
  struct Ways {
    std::vector<Way> ways;  // best first; empty: refused
    SocksCode refusal = SocksCode::host_unreachable;
    std::string why;
  };
  struct Hooks {
    std::function<Ways(const SocksTarget&, const base::IpAddr& client)> ways;
  };
  // nullopt: nobody has to log in.
  static base::Result<std::unique_ptr<SocksProxy>> start(Config, std::optional<SocksUsers>, Hooks, base::Loop&, base::SocketStore&,
                                                         base::Metrics&);
  ~SocksProxy();
  void set_users(std::optional<SocksUsers> users) { users_ = std::move(users); }  // for the logins to come
  const base::IpPort& listening() const { return config_.listen; }
  size_t connections() const { return connections_.size(); }
  void stop_accepting() { watch_.reset(), listener_.reset(); }  // drain: established connections go on

 private:
  class Connection;
  SocksProxy(Config, std::optional<SocksUsers>, Hooks, base::Loop&, base::Metrics&);
  void on_acceptable();
  void count(SocksCode);
  void drop(uint64_t id);

  Config config_;
  std::optional<SocksUsers> users_;
  Hooks hooks_;
  base::Loop& loop_;
  base::Metrics& metrics_;
  base::UniqueFd listener_;
  std::unique_ptr<base::FdWatch> watch_;
  std::map<uint64_t, std::unique_ptr<Connection>> connections_;
  uint64_t next_id_ = 1;
  base::Counter &logins_refused_, &bytes_;
};

}  // namespace edgemesh
