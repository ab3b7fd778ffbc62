#include "tunnel/signal/proxy_connect.h"

#include <algorithm>

namespace tunnel {
namespace {

using base::ByteView;

constexpr size_t kReasonShown = 60;

bool is_text(char c) { return c >= 0x20 && c < 0x7f; }

// "HTTP/1.1 403 Forbidden" -> "403 Forbidden"; empty: it is not HTTP.
std::string_view status_of(std::string_view line) {
  bool http = line.size() >= 12 && line.starts_with("HTTP/1.") && (line[7] == '0' || line[7] == '1') && line[8] == ' ';
  if (!http || !std::all_of(line.begin(), line.end(), is_text)) return {};
  std::string_view status = line.substr(9);
  bool three = std::all_of(status.begin(), status.begin() + 3, [](char c) { return c >= '0' && c <= '9'; });
  return three && (status.size() == 3 || status[3] == ' ') ? status : std::string_view{};
}

class ProxiedStream final : public base::Stream {
 public:
  ProxiedStream(base::Loop& loop, std::unique_ptr<base::Stream> below, const base::IpPort& target)
      : below_(std::move(below)), target_(target.str()), name_(target_ + " by proxy " + below_->peer()), fail_(loop.timer([this] { close(failure_); })) {}

  void start(base::StreamHandler h) override {
    up_ = std::move(h);
    below_->start({.on_connected = [this] { ask(); },
                   .on_data = [this](base::Buffer& in) { on_data(in); },
                   .on_end = [this] { open_ ? call(up_.on_end) : give_up("it closed the connection"); },
                   .on_drained = [this] { if (open_) call(up_.on_drained); },
                   .on_closed = [this](const base::Result<void>& r) { close(r); }});
  }
  bool write(ByteView b) override {
    if (open_) return below_->write(b);
    early_.append(b);  // TLS says hello at once, and then waits for an answer
    return true;
  }
  void end() override { below_->end(); }
  base::Buffer& input() override { return below_->input(); }
  void pause() override { below_->pause(); }
  void resume() override { below_->resume(); }
  size_t unsent() const override { return below_->unsent() + early_.size(); }
  const std::string& peer() const override { return name_; }
  int fd() const override { return below_->fd(); }

 private:
  void ask() { below_->write(base::as_bytes("CONNECT " + target_ + " HTTP/1.1\r\nHost: " + target_ + "\r\n\r\n")); }

  void on_data(base::Buffer& in) {
    if (over_) return in.clear();
    if (!open_ && !read_answer(in)) return;
    auto cb = up_.on_data;  // may end this
    if (!in.empty() && cb) cb(in);
  }

  // True: the far end is there and its bytes may follow.
  bool read_answer(base::Buffer& in) {
    auto answer = read_connect_answer(in.view());
    if (!answer) give_up(answer.error().what);
    if (!answer || !*answer) return false;
    in.consume(**answer);
    open_ = true;
    below_->write(early_.view());
    early_.clear();
    std::weak_ptr<bool> alive = alive_;
    call(up_.on_connected);
    return !alive.expired();
  }

  void give_up(const std::string& why) {
    over_ = true;
    failure_ = base::fail(base::Code::denied, "proxy {} does not connect to {}: {}: let it, or correct tunnel.proxy", below_->peer(), target_, why);
    fail_->arm(base::Duration{0});  // from the loop, once
  }

  void close(const base::Result<void>& r) {
    over_ = true;
    auto cb = std::exchange(up_, {}).on_closed;
    if (cb) cb(r);
  }
  static void call(const std::function<void()>& f) {
    if (f) std::function<void()>(f)();
  }

  std::unique_ptr<base::Stream> below_;
  std::string target_, name_;
  base::StreamHandler up_;
  base::Buffer early_;
  bool open_ = false, over_ = false;
  base::Result<void> failure_;
  std::unique_ptr<base::Timer> fail_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

base::Result<std::optional<size_t>> read_connect_answer(ByteView in) {
  std::string_view text = base::as_text(in.first(std::min(in.size(), kProxyAnswerBytesMax)));
  size_t line_end = text.find("\r\n"), end = text.find("\r\n\r\n");
  if (line_end == text.npos && text.size() < kProxyAnswerBytesMax) return std::optional<size_t>();
  std::string_view status = line_end == text.npos ? "" : status_of(text.substr(0, line_end));
  if (status.empty()) return base::fail(base::Code::invalid, "its answer is not HTTP");
  if (status[0] != '2') return base::fail(base::Code::denied, "{}", status.substr(0, kReasonShown));
  if (end != text.npos) return std::optional(end + 4);
  if (text.size() == kProxyAnswerBytesMax) return base::fail(base::Code::limit, "its answer has no end");
  return std::optional<size_t>();
}

std::unique_ptr<base::Stream> through_proxy(base::Loop& loop, std::unique_ptr<base::Stream> below, const base::IpPort& target) {
  return std::make_unique<ProxiedStream>(loop, std::move(below), target);
}

}  // namespace tunnel
