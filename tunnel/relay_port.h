// RelayPort: the UDP sockets of the relay role, apart from the tunnel's own; each datagram goes to the RelayServer and what it
// answers goes out of the same socket. Control loop only.
#pragma once
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/loop/loop.h"
#include "base/loop/socket_store.h"
#include "base/net/datagram.h"
#include "tunnel/relay/relay_server.h"

namespace tunnel {

class RelayPort {
 public:
  static base::Result<std::unique_ptr<RelayPort>> open(RelayServer::Config, base::Loop&, base::SocketStore&, base::Rng&, base::Metrics&);
  RelayServer& server() { return *server_; }
  // Where UDP does not pass: datagrams come and go over connections (H2Signal), by their numbers.
  void on_record(uint64_t connection, base::ByteView);
  void set_record_sender(std::function<void(uint64_t connection, base::ByteView)> f) { send_record_ = std::move(f); }

 private:
  explicit RelayPort(base::Loop& loop) : loop_(loop) {}
  struct Socket {
    base::Family family;
    base::UniqueFd fd;
    bool is_other = false;  // STUN alone (kStunOtherPort)
    std::unique_ptr<base::FdWatch> watch;
    base::DatagramWriter writer{64};
    std::vector<base::ByteVec> pending;  // bytes of the answers queued in writer; what is forwarded lies in the reader
  };
  base::Result<void> listen(const base::IpPort&, const std::string& name, base::SocketStore&, bool is_other = false);
  void on_readable(Socket&);
  void send(const base::IpPort& to, base::ByteView, size_t segment);
  void answer_stun(Socket&, const base::Datagram&);
  static void flush(Socket&);

  base::Loop& loop_;
  std::unique_ptr<RelayServer> server_;
  std::vector<std::unique_ptr<Socket>> sockets_;
  base::DatagramReader reader_{16, 65536};  // joined by the kernel, and sent on as they came
  base::Datagram* current_ = nullptr;       // the one at hand
  // The own address each correspondent wrote to last: it is answered, and forwarded to, from there (its NAT expects no other).
  std::unordered_map<base::IpPort, base::IpAddr> reached_at_;
  std::unique_ptr<base::Timer> tick_;
  std::function<void(uint64_t, base::ByteView)> send_record_;
};

}  // namespace tunnel
