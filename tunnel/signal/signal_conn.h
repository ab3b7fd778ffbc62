// One signalling connection: HTTP/2 on mutual TLS, one long stream, on it messages (message_frame.h). Keeps itself alive with
// pings and dies on silence. What waits to be sent is bounded: when the peer does not read, messages are dropped and counted,
// never queued without end. Internal to tunnel/signal.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "base/core/rng.h"
#include "base/http/h2_codec.h"
#include "base/loop/loop.h"
#include "tunnel/signal/message_frame.h"
#include "tunnel/signal/tls_identity.h"

namespace tunnel {

struct SignalTiming {
  base::Duration handshake = std::chrono::seconds(10);  // from the dial to the first Hello
  base::Duration ping_every = std::chrono::seconds(15);
  base::Duration silence = std::chrono::seconds(25);    // nothing heard for that long: dead
};

class SignalConn {
 public:
  // Of the stream below: what does not fit waits in HTTP/2's queue, where it is bounded.
  static constexpr base::StreamLimits kStreamLimits{.write_low = 16 << 10, .write_high = 64 << 10};
  struct Events {  // none is called inside a method of the connection; each may destroy it
    std::function<void()> on_ready;  // certificates checked and the peer's Hello read
    std::function<void(const Message&)> on_message;
    std::function<void(const std::string& why)> on_closed;
    std::function<void()> on_room;  // perhaps more can be sent than before; may be empty
  };

  SignalConn(base::Loop&, base::Rng&, base::TlsRole, std::unique_ptr<base::Stream> below, const TlsIdentity&, Message hello, SignalTiming, Events);

  bool ready() const { return ready_; }
  const base::NodeIdentity& identity() const { return identity_; }  // empty before the handshake
  const edgemesh::signal::v1::Hello& hello() const { return peer_hello_; }
  base::Duration rtt() const { return rtt_; }
  bool send(const Message&);  // false: dropped (not ready, or the peer does not read)
  int fd() const { return tls_->fd(); }
  size_t queued() const { return codec_.queued(stream_) + tls_->unsent(); }
  void close(const std::string& why);  // on_closed follows from the loop

 private:
  base::H2Events h2_events();
  void on_connected();
  void on_stream(int32_t stream, const base::Headers&);
  void on_bytes(base::Buffer&);
  void on_drained();
  void on_data(int32_t stream, base::ByteView);
  bool take_one_message();
  void on_first(const Message&);
  bool send_raw(const Message&);
  void pump();
  void on_tick();
  void say_goodbye();
  void finish(const std::string& why);

  base::Loop& loop_;
  base::Rng& rng_;
  base::TlsRole role_;
  std::unique_ptr<base::TlsStream> tls_;
  Message own_hello_;
  SignalTiming timing_;
  Events events_;
  base::H2Codec codec_;
  std::unique_ptr<base::Timer> tick_, fail_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  base::NodeIdentity identity_;
  edgemesh::signal::v1::Hello peer_hello_;
  base::Buffer in_;
  std::string why_;
  int32_t stream_ = 0;
  bool ready_ = false, over_ = false, feeding_ = false;
  base::Instant born_, heard_, pinged_;
  uint64_t ping_id_ = 0;
  base::Duration rtt_{0};
};

}  // namespace tunnel
