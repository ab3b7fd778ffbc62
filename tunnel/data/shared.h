// What workers and the control loop share: counters, per-peer traffic, and the gate through which workers post.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>

#include "tunnel/data/data_plane.h"

namespace tunnel {

struct DataCounters {
  explicit DataCounters(base::Metrics&);
  base::Counter &tx_packets, &rx_packets, &tx_bytes, &rx_bytes, &tx_batches, &rx_batches, &split;
  // Why packets were dropped.
  base::Counter &malformed, &confined, &foreign_source, &foreign_destination, &no_route, &queue_full, &send_failed, &too_big,
      &unknown_index, &forged, &replayed, &tun_write, &congestion, &backlog, &stray_limit;
};

// Written by workers, read on the control loop.
class PeerCounters {
 public:
  void sent(size_t bytes, size_t packets, size_t long_ones, bool relay, base::Instant now);
  void received(size_t bytes, size_t packets, bool relay, base::Instant now);
  void came_from(const PathAddr&);  // when it changed
  PeerTraffic read() const;

 private:
  std::atomic<uint64_t> tx_bytes_[2] = {}, rx_bytes_[2] = {}, tx_packets_{0}, rx_packets_{0}, tx_long_{0};
  std::atomic<int64_t> last_tx_{0}, last_rx_{0};
  mutable std::mutex mu_;
  PathAddr last_path_;
};

// Outlives the workers and the data plane; after close() nothing posted through it runs.
class ControlGate : public std::enable_shared_from_this<ControlGate> {
 public:
  ControlGate(base::Loop& control, DataPlaneHooks hooks) : control_(control), hooks_(std::move(hooks)) {}
  // Any worker. Bounded ones: false when too many wait already.
  bool control_packet(const PathAddr& from, base::ByteVec bytes);
  bool stray(base::ByteVec packet);
  bool held(PeerId, base::ByteVec packet);
  void first_data(uint32_t local_index);
  void wanted(PeerId);
  void close() { open_ = false; }  // control loop

 private:
  template <class F>
  bool post_bounded(F&& f);
  base::Loop& control_;
  DataPlaneHooks hooks_;
  std::atomic<size_t> backlog_{0};
  bool open_ = true;  // control loop only
};

}  // namespace tunnel
