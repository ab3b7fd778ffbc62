// HTTP/2 (RFC 9113) without I/O: bytes in, events out, bytes to send. One object is one connection, either side. Bounded:
// streams, header bytes, queued output per stream, and resets by the peer ("rapid reset").
//
// Events are called inside feed(); they may call any method but must not destroy the codec. After feed() failed, drain() still
// gives the GOAWAY to send, then the connection is closed.
#pragma once
#include <functional>
#include <memory>

#include "base/core/bytes.h"
#include "base/core/limits.h"
#include "base/core/result.h"
#include "base/core/time.h"
#include "base/http/message.h"

namespace base {

struct H2Limits {
  uint32_t streams = 100;                                  // opened by the peer at one time
  size_t header_bytes = limits::kHttpHeaderBytesMax;       // per message
  size_t headers = limits::kHttpHeadersMax;
  uint32_t window = 256 << 10;                             // bytes a peer may send on a stream before consume()
  size_t queued_bytes = 512 << 10;                         // per stream, given to send_data() and not yet on the wire
  uint32_t resets_per_10s = 100;                           // RST_STREAM by the peer
};

struct H2Events {
  std::function<void(int32_t stream, const Headers&, bool end)> on_headers;  // pseudo fields included; trailers come the same way
  std::function<void(int32_t stream, ByteView)> on_data;                     // then consume() when it is dealt with
  std::function<void(int32_t stream)> on_end;                                // the peer will send no more
  std::function<void(int32_t stream, uint32_t code)> on_closed;              // both sides are done, or it was reset
  std::function<void(uint64_t)> on_ping_ack;
  std::function<void()> on_goaway;
};

class H2Codec {
 public:
  enum class Role { client, server };
  H2Codec(Role, H2Events, H2Limits = {});
  ~H2Codec();
  H2Codec(const H2Codec&) = delete;
  H2Codec& operator=(const H2Codec&) = delete;

  Result<void> feed(ByteView, Instant now);
  // What is to be written now, at most about bytes_max; empty when there is nothing (or the peer's window is full).
  ByteVec drain(size_t bytes_max = 64 << 10);
  bool is_over() const;  // nothing more to read and nothing more to write

  Result<int32_t> open(const Headers&, bool end);               // client: a new stream
  Result<void> respond(int32_t stream, const Headers&, bool end);  // server: the answer's head
  // Code::limit when queued() would pass the bound: nothing is taken then. Code::not_found: the stream is gone.
  Result<void> send_data(int32_t stream, ByteView, bool end);
  size_t queued(int32_t stream) const;
  void consume(int32_t stream, size_t bytes);  // gives the peer that much window back
  void ping(uint64_t opaque);
  void reset(int32_t stream, uint32_t code);
  void go_away(uint32_t code);
  size_t live_streams() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace base
