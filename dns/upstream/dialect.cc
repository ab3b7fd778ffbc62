#include "dns/upstream/dialect.h"

#include <map>

#include "base/http/h2_codec.h"
#include "dns/wire/types.h"

namespace dns {

using base::ByteVec;
using base::ByteView;
using base::Result;

void pad_query(ByteVec& q) {
  static constexpr size_t kBlock = 128, kOptionHead = 4;
  static constexpr uint16_t kPadding = 12;  // RFC 7830
  if (q.size() < kHeaderSize + kOptSize) return;
  size_t rdlength_at = q.size() - 2, fill = (kBlock - (q.size() + kOptionHead) % kBlock) % kBlock;
  base::store_be16(&q[rdlength_at], uint16_t(kOptionHead + fill));
  base::Writer w(q);
  w.u16(kPadding);
  w.u16(uint16_t(fill));
  q.resize(q.size() + fill, 0);
}

namespace {

class Dot final : public Dialect {
 public:
  Result<void> ask(uint16_t ticket, ByteVec q) override {
    base::store_be16(q.data(), ticket);
    base::Writer w(out_);
    w.u16(uint16_t(q.size()));
    w.put(q);
    return {};
  }
  Result<void> feed(base::Buffer& in, base::Instant, std::vector<Answer>& answers) override {
    while (in.size() >= 2) {
      size_t n = base::load_be16(in.view().data());
      if (n < kHeaderSize) return base::fail(base::Code::invalid, "a message of {} octets", n);
      if (in.size() < n + 2) break;
      ByteView m = in.view().subspan(2, n);
      answers.push_back({base::load_be16(m.data()), {m.begin(), m.end()}});
      in.consume(n + 2);
    }
    return {};
  }
  ByteVec output() override { return std::exchange(out_, {}); }

 private:
  ByteVec out_;
};

class Doh final : public Dialect {
 public:
  Doh(std::string authority, std::string path)
      : authority_(std::move(authority)), path_(std::move(path)), codec_(base::H2Codec::Role::client, events(), {.streams = 0}) {}

  Result<void> ask(uint16_t ticket, ByteVec q) override {
    base::store_be16(q.data(), 0);  // RFC 8484 §4.1
    EM_TRY_ASSIGN(int32_t stream, codec_.open({{":method", "POST"}, {":scheme", "https"}, {":authority", authority_}, {":path", path_},
                                               {"content-type", "application/dns-message"}, {"accept", "application/dns-message"},
                                               {"content-length", std::to_string(q.size())}}, false));
    EM_TRY(codec_.send_data(stream, q, true));
    streams_[stream].ticket = ticket;
    return {};
  }
  Result<void> feed(base::Buffer& in, base::Instant now, std::vector<Answer>& answers) override {
    answers_ = &answers;
    auto r = codec_.feed(in.view(), now);
    in.clear();
    answers_ = nullptr;
    return r;
  }
  ByteVec output() override {
    ByteVec all;
    for (ByteVec some; !(some = codec_.drain()).empty();) all.insert(all.end(), some.begin(), some.end());
    return all;
  }
  bool is_closing() const override { return going_away_ || codec_.is_over(); }

 private:
  struct Stream {
    uint16_t ticket = 0;
    bool fine = false;
    ByteVec body;
  };
  base::H2Events events() {
    base::H2Events e;
    e.on_headers = [this](int32_t s, const base::Headers& h, bool) {
      auto it = streams_.find(s);
      if (it != streams_.end() && h.find(":status")) it->second.fine = h.get(":status") == "200" && h.get("content-type").starts_with("application/dns-message");
    };
    e.on_data = [this](int32_t s, ByteView d) {
      codec_.consume(s, d.size());
      auto it = streams_.find(s);
      if (it == streams_.end()) return;
      if (it->second.body.size() + d.size() > kMessageMax) return codec_.reset(s, 8);  // CANCEL
      it->second.body.insert(it->second.body.end(), d.begin(), d.end());
    };
    e.on_end = [this](int32_t s) { over(s, true); };
    e.on_closed = [this](int32_t s, uint32_t) { over(s, false); };
    e.on_goaway = [this] { going_away_ = true; };
    return e;
  }
  void over(int32_t s, bool whole) {
    auto it = streams_.find(s);
    if (it == streams_.end()) return;
    Answer a{it->second.ticket, {}};
    if (whole && it->second.fine && it->second.body.size() >= kHeaderSize) a.message = std::move(it->second.body);
    streams_.erase(it);
    if (answers_) answers_->push_back(std::move(a));
  }

  std::string authority_, path_;
  std::map<int32_t, Stream> streams_;
  std::vector<Answer>* answers_ = nullptr;  // during feed
  bool going_away_ = false;
  base::H2Codec codec_;
};

}  // namespace

std::unique_ptr<Dialect> make_dot() { return std::make_unique<Dot>(); }
std::unique_ptr<Dialect> make_doh(const std::string& authority, const std::string& path) { return std::make_unique<Doh>(authority, path); }

}  // namespace dns
