#include "integration/tunnel/fleet_data.h"

#include <utility>

#include "base/net/socket.h"
#include "tunnel/packet/packet.h"

namespace tunnel {

base::Result<std::unique_ptr<FleetData>> FleetData::open(base::Loop& loop, base::DatagramReader& reader, DataPlaneHooks hooks) {
  std::unique_ptr<FleetData> d(new FleetData(loop, reader, std::move(hooks)));
  EM_TRY_ASSIGN(d->fd_, base::udp_socket({base::IpAddr(), 0}));
  EM_TRY_ASSIGN(auto at, base::local_address(d->fd_.get()));
  d->port_ = at.port;
  d->watch_ = loop.watch(d->fd_.get(), base::kFdRead, [p = d.get()](base::FdEvents) { p->on_readable(); });
  return d;
}

void FleetData::add_receive_keys(PeerId, DataKeysPtr keys) {
  uint32_t index = keys->local_index();
  keys_[index] = {std::move(keys)};
}

void FleetData::send(const PathAddr& to, base::ByteView datagram, uint8_t) {
  base::ByteVec out(to.is_relay() ? kRelayHeaderBytes : 0);
  if (to.is_relay()) write_relay_header(out.data(), to.relay_channel);
  out.insert(out.end(), datagram.begin(), datagram.end());
  writer_.add({.to = to.remote, .data = out, .source = std::nullopt});
  writer_.flush(fd_.get());
  writer_.clear();
}

void FleetData::on_readable() {
  auto got = reader_.receive(fd_.get());
  if (!got) return;
  std::vector<std::pair<PathAddr, base::ByteVec>> all;  // the reader is the whole fleet's
  for (const base::Datagram& d : *got) {
    PathAddr from{d.from, {}, 0, 0};
    base::ByteView b = d.data;
    if (auto frame = read_relay_frame(b)) {
      from.relay_channel = frame->channel;
      b = frame->packet;
    }
    if (!b.empty()) all.emplace_back(from, base::ByteVec(b.begin(), b.end()));
  }
  for (auto& [from, b] : all) {
    if (b[0] == uint8_t(PacketType::data)) on_data(from, std::move(b));
    else hooks_.on_control(from, std::move(b));
  }
}

void FleetData::on_data(const PathAddr& from, base::ByteVec b) {
  auto h = read_header(b);
  auto it = h ? keys_.find(h->index) : keys_.end();
  auto plain = it == keys_.end() ? std::nullopt : it->second.keys->open(b);
  if (!plain) return;
  traffic_.rx_packets++;
  traffic_.rx_bytes_relay += plain->size();
  traffic_.last_rx = loop_.now();
  traffic_.last_rx_path = from;
  if (!std::exchange(it->second.is_used, true)) hooks_.on_first_data(h->index);
}

}  // namespace tunnel
