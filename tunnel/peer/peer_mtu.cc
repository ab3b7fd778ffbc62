// How long datagrams to the peer may be. The data plane is told at once, what it cannot send whole goes in pieces; the kernel only
// what a path has settled at, because pods remember a small MTU for minutes.
#include "tunnel/peer/peer.h"

namespace tunnel {

void PeerMachine::use_mtu_of_path() {
  Path* a = active_path();
  if (!a) return;
  a->mtu.set_link(node_.link_mtu, a->addr.remote.ip.is_v6(), now_);
  a->mtu.activate(now_);
}

uint16_t PeerMachine::routed_mtu() const {
  const Path* a = active_path();
  return a ? a->mtu.inner() : kInnerMtuSure;
}

void PeerMachine::drive_mtu() {
  Path* a = active_path();
  if (!a || !keys_.has_current()) return;
  if (!a->mtu.next_deadline()) use_mtu_of_path();  // the path was forgotten and is here again
  a->mtu.set_link(node_.link_mtu, a->addr.remote.ip.is_v6(), now_);
  uint64_t holes = a->mtu.black_holes();
  for (const PathMtu::Probe& p : a->mtu.tick(now_, a->rtt, node_.rng)) {
    size_t around = kOverheadBytes + (a->addr.is_relay() ? kRelayHeaderBytes : 0);
    send_sealed(a->addr, PacketType::check, encode(Check{p.txid, a->id}, p.payload > around ? p.payload - around : 0));
  }
  if (a->mtu.black_holes() != holes) {
    node_.black_holes.add();
    env_.log(base::LogLevel::info, fmt::format("{}: path {} carries long packets no more; searching how long they may be", name_, active_->str()));
  }
  apply_route();
  if (!a->mtu.is_settled() || a->mtu.inner() == told_mtu_) return;
  told_mtu_ = a->mtu.inner();
  env_.on_inner_mtu(told_mtu_);
}

void PeerMachine::on_mtu_ack(uint64_t txid) {
  for (Path& p : paths_.all())
    if (p.mtu.on_ack(txid, now_)) break;
  apply_route();
}

}  // namespace tunnel
