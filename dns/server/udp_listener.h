// One UDP socket of the server: batches of 64 in, answered in place, batches out; at most 16 batches per wake-up.
#pragma once
#include "base/core/unique_fd.h"
#include "base/net/datagram.h"
#include "base/net/datagram_exchange.h"
#include "dns/server/responder.h"

namespace dns {

class UdpListener {
 public:
  UdpListener(base::Loop&, base::UniqueFd, Responder&, bool wildcard);
  void stop_reading() { watch_.reset(); }  // answers under way still leave
  void serve_by(Responder& r) { responder_ = &r; }  // from the next query on; those under way are answered by the one before
  int fd() const { return fd_.get(); }

 private:
  void on_readable();
  void one(size_t i);
  void answer_later(size_t i);

  base::UniqueFd fd_;
  Responder* responder_;
  bool wildcard_;  // answers leave from the address that was asked
  base::DatagramExchange batch_;
  base::DatagramWriter late_writer_;
  std::shared_ptr<UdpListener*> alive_;  // for answers that come after us
  std::unique_ptr<base::FdWatch> watch_;
};

}  // namespace dns
