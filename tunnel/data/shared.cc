#include "tunnel/data/shared.h"

namespace tunnel {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

base::Counter& dropped(base::Metrics& m, const char* reason) {
  return m.counter("edgemeshd_tunnel_dropped_packets_total", "Packets the tunnel dropped, by reason.", {{"reason", reason}});
}
base::Counter& moved(base::Metrics& m, const char* name, const char* help, const char* direction) {
  return m.counter(name, help, {{"direction", direction}});
}
constexpr const char* kPackets = "edgemeshd_tunnel_packets_total";
constexpr const char* kPacketsHelp = "Inner packets sealed and sent, or received and delivered.";
constexpr const char* kBytes = "edgemeshd_tunnel_bytes_total";
constexpr const char* kBytesHelp = "Bytes of these inner packets.";
constexpr const char* kBatches = "edgemeshd_tunnel_batches_total";
constexpr const char* kBatchesHelp = "UDP sends and receives that carried them; packets per batch is what offload gains.";

}  // namespace

DataCounters::DataCounters(base::Metrics& m)
    : tx_packets(moved(m, kPackets, kPacketsHelp, "tx")), rx_packets(moved(m, kPackets, kPacketsHelp, "rx")),
      tx_bytes(moved(m, kBytes, kBytesHelp, "tx")), rx_bytes(moved(m, kBytes, kBytesHelp, "rx")),
      tx_batches(moved(m, kBatches, kBatchesHelp, "tx")), rx_batches(moved(m, kBatches, kBatchesHelp, "rx")),
      split(m.counter("edgemeshd_tunnel_split_packets_total", "Inner packets that went in pieces because the path carries no datagram of their size, or because that is not known yet.")),
      malformed(dropped(m, "malformed")), confined(dropped(m, "confined_address")), foreign_source(dropped(m, "foreign_source")),
      foreign_destination(dropped(m, "foreign_destination")), no_route(dropped(m, "no_route")), queue_full(dropped(m, "queue_full")),
      send_failed(dropped(m, "send_failed")), too_big(dropped(m, "too_big")), unknown_index(dropped(m, "unknown_index")),
      forged(dropped(m, "forged")), replayed(dropped(m, "replayed")), tun_write(dropped(m, "tun_write")),
      congestion(dropped(m, "congestion")), backlog(dropped(m, "control_backlog")), stray_limit(dropped(m, "stray_limit")) {}

void PeerCounters::sent(size_t bytes, size_t packets, size_t long_ones, bool relay, base::Instant now) {
  if (long_ones) tx_long_.fetch_add(long_ones, kRelaxed);
  tx_bytes_[relay].fetch_add(bytes, kRelaxed);
  tx_packets_.fetch_add(packets, kRelaxed);
  last_tx_.store(now.time_since_epoch().count(), kRelaxed);
}

void PeerCounters::received(size_t bytes, size_t packets, bool relay, base::Instant now) {
  rx_bytes_[relay].fetch_add(bytes, kRelaxed);
  rx_packets_.fetch_add(packets, kRelaxed);
  last_rx_.store(now.time_since_epoch().count(), kRelaxed);
}

void PeerCounters::came_from(const PathAddr& p) {
  std::lock_guard lock(mu_);
  last_path_ = p;
}

PeerTraffic PeerCounters::read() const {
  PeerTraffic t;
  t.tx_bytes_direct = tx_bytes_[0].load(kRelaxed);
  t.tx_bytes_relay = tx_bytes_[1].load(kRelaxed);
  t.rx_bytes_direct = rx_bytes_[0].load(kRelaxed);
  t.rx_bytes_relay = rx_bytes_[1].load(kRelaxed);
  t.tx_long = tx_long_.load(kRelaxed);
  t.tx_packets = tx_packets_.load(kRelaxed);
  t.rx_packets = rx_packets_.load(kRelaxed);
  t.last_rx = base::Instant(base::Duration(last_rx_.load(kRelaxed)));
  t.last_tx = base::Instant(base::Duration(last_tx_.load(kRelaxed)));
  std::lock_guard lock(mu_);
  t.last_rx_path = last_path_;
  return t;
}

template <class F>
bool ControlGate::post_bounded(F&& f) {
  if (backlog_.fetch_add(1, kRelaxed) >= kControlBacklogMax) {
    backlog_.fetch_sub(1, kRelaxed);
    return false;
  }
  control_.post([self = shared_from_this(), f = std::forward<F>(f)]() mutable {
    self->backlog_.fetch_sub(1, kRelaxed);
    if (self->open_) f(self->hooks_);
  });
  return true;
}

bool ControlGate::control_packet(const PathAddr& from, base::ByteVec bytes) {
  return post_bounded([from, b = std::move(bytes)](DataPlaneHooks& h) mutable {
    if (h.on_control) h.on_control(from, std::move(b));
  });
}

bool ControlGate::stray(base::ByteVec packet) {
  return post_bounded([p = std::move(packet)](DataPlaneHooks& h) mutable {
    if (h.on_stray) h.on_stray(std::move(p));
  });
}

bool ControlGate::held(PeerId id, base::ByteVec packet) {
  return post_bounded([id, p = std::move(packet)](DataPlaneHooks& h) mutable {
    if (h.on_held) h.on_held(id, std::move(p));
  });
}

void ControlGate::first_data(uint32_t local_index) {  // as many as there are KeySets
  control_.post([self = shared_from_this(), local_index] {
    if (self->open_ && self->hooks_.on_first_data) self->hooks_.on_first_data(local_index);
  });
}

void ControlGate::wanted(PeerId id) {  // ten times a second and peer
  control_.post([self = shared_from_this(), id] {
    if (self->open_ && self->hooks_.on_wanted) self->hooks_.on_wanted(id);
  });
}

}  // namespace tunnel
