// UdpPort: one worker's UDP sockets for one local port, a socket per family. Receives with GRO, sends with GSO until the kernel
// shows it cannot. Immutable but for that flag; shared by the worker and the control loop (the kernel serialises sends).
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/core/unique_fd.h"
#include "base/loop/socket_store.h"
#include "base/net/socket.h"
#include "tunnel/path/path_addr.h"

namespace tunnel {

// Where a batch goes, in the kernel's form.
struct Endpoint {
  explicit Endpoint(const PathAddr&);
  Endpoint() = default;
  base::SockAddr to;
  base::IpAddr local;
  bool v6 = false;
  uint32_t channel = 0;
};

// Takes a datagram for a relay that goes another way than UDP. Any thread.
using RecordSink = std::function<void(base::ByteView)>;

class UdpPort {
 public:
  struct Config {
    std::vector<base::IpPort> listen;
    uint32_t mark = 0;
    size_t worker = 0, workers = 1;
    bool gso = true;
    uint32_t id = 0;                 // PathAddr::socket
    int buffer_bytes = 8 << 20;      // a tenth of a second at 500 Mbit/s; memory is taken only while it is full
  };
  // store: null opens anew (rebind). A family the host has not is left out when another one works.
  static base::Result<std::shared_ptr<UdpPort>> open(Config, base::SocketStore* store);

  // No socket: what is sent goes to the sink.
  static std::shared_ptr<UdpPort> through(RecordSink, uint32_t id);

  int fd(bool v6) const { return fds_[v6].get(); }
  uint16_t port() const { return port_; }
  uint32_t id() const { return id_; }

  // size bytes of equal datagrams (the last may be shorter); ecn: the two bits for the outer header. Returns 0, or the errno of
  // the failure after which the batch was lost. ttl 0: the system's.
  int send(const Endpoint&, base::ByteView arena, size_t segment, uint8_t ecn, uint8_t ttl = 0);

 private:
  int send_singly(const Endpoint&, base::ByteView arena, size_t segment, uint8_t ecn);
  base::UniqueFd fds_[2];
  RecordSink sink_;
  std::atomic<bool> gso_[2] = {true, true};
  uint16_t port_ = 0;
  uint32_t id_ = 0;
};

}  // namespace tunnel
