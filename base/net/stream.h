// Stream: a connection as bytes in and out with bounded buffers; over TCP, over a unix socket, or over TLS (tls_stream.h).
//
// - Nothing happens before start(). All callbacks come from the loop, never from inside a call of the user.
// - on_data shows everything received and not yet consumed; what is left stays for next time. While that is at or above
//   read_high, nothing more is read; consuming outside of on_data is followed by resume().
// - write() never blocks. It says false when the output is at or above write_high: go on after on_drained (it fell to
//   write_low). Beyond write_max the stream is closed with Code::limit.
// - Half-close: on_end says that the peer finished sending; writing still works. end() finishes our side after what is buffered.
// - on_closed comes at most once and last: a value when both sides finished, else the reason. Dropping the Stream closes it
//   without a callback; a callback may drop it.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "base/core/result.h"
#include "base/core/unique_fd.h"
#include "base/loop/loop.h"
#include "base/net/buffer.h"
#include "base/net/socket.h"

namespace base {

struct StreamHandler {  // any may be empty
  std::function<void()> on_connected;  // outgoing only; over TLS of both sides: the handshake is done
  std::function<void(Buffer& in)> on_data;
  std::function<void()> on_end;
  std::function<void()> on_drained;
  std::function<void(const Result<void>& reason)> on_closed;
};

struct StreamLimits {
  size_t read_high = 256 << 10;
  size_t write_low = 64 << 10;
  size_t write_high = 256 << 10;
  size_t write_max = 16 << 20;
};

class Stream {
 public:
  virtual ~Stream() = default;
  virtual void start(StreamHandler) = 0;
  virtual bool write(ByteView) = 0;
  bool write(std::string_view s) { return write(as_bytes(s)); }
  virtual void end() = 0;
  virtual Buffer& input() = 0;
  virtual void pause() = 0;   // reads nothing until resume()
  virtual void resume() = 0;
  virtual size_t unsent() const = 0;
  virtual const std::string& peer() const = 0;  // for messages
  virtual int fd() const = 0;
};

std::unique_ptr<Stream> make_stream(Loop&, UniqueFd connected, StreamLimits = {});
// Fails at once (no route, bad path) or by on_closed (refused, Code::timeout after `within`).
Result<std::unique_ptr<Stream>> connect_tcp(Loop&, const IpPort&, Duration within, const ConnectOptions& = {}, StreamLimits = {});
Result<std::unique_ptr<Stream>> connect_unix(Loop&, const std::string& path, Duration within, StreamLimits = {});

// Hands out accepted connections. Out of descriptors it rests 100 ms and says so; dropping it stops accepting.
class Listener {
 public:
  Listener(Loop&, UniqueFd listening, std::function<void(UniqueFd)> on_accept);
  ~Listener();
  Result<IpPort> address() const { return local_address(fd_.get()); }
  void pause();
  void resume();

 private:
  void on_ready();
  UniqueFd fd_;
  std::shared_ptr<std::function<void(UniqueFd)>> on_accept_;
  std::unique_ptr<Timer> rest_;
  std::unique_ptr<FdWatch> watch_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace base
