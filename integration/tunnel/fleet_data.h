// FleetData: the data plane of one simulated client: a UDP socket and no device. It answers and counts; it has no packets of its own.
#pragma once
#include <map>
#include <memory>

#include "base/loop/loop.h"
#include "base/net/datagram.h"
#include "tunnel/data/data_plane.h"

namespace tunnel {

class FleetData final : public DataPlane {
 public:
  static base::Result<std::unique_ptr<FleetData>> open(base::Loop&, base::DatagramReader&, DataPlaneHooks);

  uint16_t port() const override { return port_; }
  void set_peer(PeerId, PeerRoute) override {}
  void remove_peer(PeerId) override { keys_.clear(); }
  void add_receive_keys(PeerId, DataKeysPtr) override;
  void remove_receive_keys(uint32_t index) override { keys_.erase(index); }
  void send(const PathAddr&, base::ByteView datagram, uint8_t ttl) override;
  void deliver(PeerId, base::ByteView) override {}
  void write_tun(base::ByteView) override {}
  PeerTraffic traffic(PeerId) const override { return traffic_; }
  base::Result<void> rebind(uint16_t) override { return {}; }
  base::Result<uint32_t> open_socket(bool, uint16_t) override {
    return base::fail(base::Code::unsupported, "a client of the fleet has one socket");
  }
  void close_socket(uint32_t) override {}
  uint16_t socket_port(uint32_t) const override { return 0; }
  uint32_t open_carrier(std::function<void(base::ByteView)>) override { return kFirstCarrier; }
  void carried(uint32_t, const base::IpPort&, base::ByteView) override {}

 private:
  FleetData(base::Loop& loop, base::DatagramReader& reader, DataPlaneHooks hooks)
      : loop_(loop), reader_(reader), hooks_(std::move(hooks)) {}
  void on_readable();
  void on_data(const PathAddr& from, base::ByteVec);

  base::Loop& loop_;
  base::DatagramReader& reader_;  // of the whole fleet
  DataPlaneHooks hooks_;
  base::UniqueFd fd_;
  uint16_t port_ = 0;
  std::unique_ptr<base::FdWatch> watch_;
  base::DatagramWriter writer_{1};
  struct Keys {
    DataKeysPtr keys;
    bool is_used = false;
  };
  std::map<uint32_t, Keys> keys_;
  PeerTraffic traffic_;  // with the one peer there is
};

}  // namespace tunnel
