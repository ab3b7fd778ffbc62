// DatagramExchange: requests that are answered in place. A batch comes in with one call, each reply is written over its request and
// goes back where that came from (and from the address it was sent to), and the replies leave with one call. The kernel's own
// addresses are used again as they are; nothing is allocated or converted per datagram.
#pragma once
#include <memory>
#include <vector>

#include "base/core/bytes.h"
#include "base/core/result.h"
#include "base/net/addr.h"

namespace base {

class DatagramExchange {
 public:
  // room: of each slot, for request and reply. packet_info: the socket was opened with SocketOptions::packet_info.
  DatagramExchange(size_t slots, size_t room, bool packet_info);
  ~DatagramExchange();

  // How many came; 0 when none is waiting. Forgets what was there before. Errors of earlier sends (ICMP) are passed over.
  Result<size_t> receive(int fd);
  ByteView request(size_t i) const { return requests_[i]; }  // empty when it was longer than the slot
  MutByteView slot(size_t i) { return {memory_.get() + i * stride_, room_}; }  // begins with the request
  IpPort from(size_t i) const;
  IpAddr local(size_t i) const;      // where it was sent to; any without packet_info
  void reply(size_t i, size_t size);
  // Sends the replies in the order they were given. A full socket buffer loses the rest, as the network may.
  void flush(int fd);

 private:
  struct Kernel;
  size_t note(size_t n);
  size_t room_, stride_;
  std::unique_ptr<uint8_t[]> memory_;
  std::vector<ByteView> requests_;
  std::unique_ptr<Kernel> k_;
};

}  // namespace base
