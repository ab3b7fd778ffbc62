// DNS over TCP (RFC 7766): length-prefixed messages, any number in flight, answers as they become ready, one write per wake-up.
// Bounds: connections in all, bytes waiting to be written, queries waiting for upstream, idle time. A full house closes a
// connection of the client that has most of them, the one idle longest: who opens many loses its own.
//
// A connection is accepted once its first query is there (TCP_DEFER_ACCEPT), which is read at once: most carry just one, so each system
// call and each wake-up saved around it counts.
#pragma once
#include <list>
#include <unordered_map>

#include "base/core/unique_fd.h"
#include "dns/server/responder.h"

namespace dns {

class TcpListener {
 public:
  struct Limits {
    size_t connections = base::limits::kDnsTcpConnectionsMax;
    std::chrono::seconds idle{30};
  };
  TcpListener(base::Loop&, base::UniqueFd, Responder&, base::Gauge& connections, Limits);
  ~TcpListener();
  void stop_accepting() { watch_.reset(); }  // connections go on
  void serve_by(Responder& r) { responder_ = &r; }  // from the next query on; those under way are answered by the one before
  int fd() const { return fd_.get(); }

 private:
  struct Connection;
  using Connections = std::list<std::shared_ptr<Connection>>;  // least recently used first
  void on_acceptable();
  void begin(base::UniqueFd, const base::IpPort& from);
  void watch(Connection&, base::FdEvents);
  void on_event(Connection&, base::FdEvents);
  bool read_some(Connection&);
  void pump(Connection&);
  bool answer_frames(Connection&);  // whether there were any
  void one(Connection&, base::ByteView query);
  static void append(Connection&, base::ByteView reply);
  void write_some(Connection&);
  void settle(Connection&);  // what to wait for next, or the end
  void close(Connection&);
  void make_room();
  void sweep();

  base::Loop& loop_;
  base::UniqueFd fd_;
  Responder* responder_;
  base::Gauge& gauge_;
  Limits limits_;
  Connections connections_;
  std::unordered_map<base::IpAddr, size_t> of_client_;  // how many of them
  base::ByteVec received_, reply_;
  std::unique_ptr<base::FdWatch> watch_;
  std::unique_ptr<base::Timer> sweep_;
};

}  // namespace dns
