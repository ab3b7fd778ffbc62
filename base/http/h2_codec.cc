#include "base/http/h2_codec.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <unordered_map>

#include "base/core/assert.h"

namespace base {
namespace {

struct Stream {
  Headers headers;
  size_t header_bytes = 0;
  std::string out;  // queued data, from sent on
  size_t sent = 0;
  bool end_after_out = false;
  bool has_provider = false;  // nghttp2 asks us for data until the end
};

std::vector<nghttp2_nv> to_nv(const Headers& headers, std::vector<std::string>& names) {
  std::vector<nghttp2_nv> out;
  names.reserve(headers.size());
  for (auto& h : headers) {
    names.push_back(h.name);
    std::transform(names.back().begin(), names.back().end(), names.back().begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
    auto* n = reinterpret_cast<uint8_t*>(names.back().data());
    auto* v = reinterpret_cast<uint8_t*>(const_cast<char*>(h.value.data()));
    out.push_back({n, v, names.back().size(), h.value.size(), NGHTTP2_NV_FLAG_NONE});
  }
  return out;
}

}  // namespace

struct H2Codec::Impl {
  Role role;
  H2Events events;
  H2Limits limits;
  nghttp2_session* session = nullptr;
  std::unordered_map<int32_t, Stream> streams;
  Instant now{}, resets_since{};
  uint32_t resets = 0;

  ~Impl() { nghttp2_session_del(session); }
  void start();
  bool count_reset();
  void on_frame(const nghttp2_frame*);
  ssize_t read_out(int32_t id, uint8_t* buf, size_t size, uint32_t* flags);
  nghttp2_data_provider provider();
  Result<void> attach_out(int32_t id, Stream&);
};

bool H2Codec::Impl::count_reset() {
  if (now - resets_since > 10s) resets_since = now, resets = 0;
  return ++resets <= limits.resets_per_10s;
}

void H2Codec::Impl::on_frame(const nghttp2_frame* f) {
  int32_t id = f->hd.stream_id;
  bool end = f->hd.flags & NGHTTP2_FLAG_END_STREAM;
  switch (f->hd.type) {
    case NGHTTP2_HEADERS: {
      auto it = streams.find(id);
      if (it == streams.end()) return;
      Headers headers = std::exchange(it->second.headers, {});
      it->second.header_bytes = 0;
      if (events.on_headers) events.on_headers(id, headers, end);
      break;
    }
    case NGHTTP2_PING:
      if (f->hd.flags & NGHTTP2_FLAG_ACK && events.on_ping_ack) events.on_ping_ack(load_be64(f->ping.opaque_data));
      return;
    case NGHTTP2_GOAWAY:
      if (events.on_goaway) events.on_goaway();
      return;
    case NGHTTP2_DATA: break;
    default: return;
  }
  if (end && events.on_end) events.on_end(id);
}

ssize_t H2Codec::Impl::read_out(int32_t id, uint8_t* buf, size_t size, uint32_t* flags) {
  Stream& s = streams[id];
  size_t n = std::min(size, s.out.size() - s.sent);
  memcpy(buf, s.out.data() + s.sent, n);
  s.sent += n;
  bool empty = s.sent == s.out.size();
  if (empty || s.sent > (64 << 10)) {
    s.out.erase(0, s.sent);
    s.sent = 0;
  }
  if (empty && s.end_after_out) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    s.has_provider = false;
    return ssize_t(n);
  }
  return n == 0 ? NGHTTP2_ERR_DEFERRED : ssize_t(n);
}

void H2Codec::Impl::start() {
  nghttp2_session_callbacks* cb;
  nghttp2_session_callbacks_new(&cb);
  nghttp2_session_callbacks_set_on_begin_headers_callback(cb, [](nghttp2_session*, const nghttp2_frame* f, void* p) {
    static_cast<Impl*>(p)->streams[f->hd.stream_id];
    return 0;
  });
  nghttp2_session_callbacks_set_on_header_callback(
      cb, [](nghttp2_session*, const nghttp2_frame* f, const uint8_t* n, size_t nl, const uint8_t* v, size_t vl, uint8_t, void* p) {
        auto* self = static_cast<Impl*>(p);
        Stream& s = self->streams[f->hd.stream_id];
        s.header_bytes += nl + vl + 32;
        if (s.header_bytes > self->limits.header_bytes || s.headers.size() == self->limits.headers) return int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE);
        s.headers.add(std::string(as_text({n, nl})), std::string(as_text({v, vl})));
        return 0;
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(cb, [](nghttp2_session*, const nghttp2_frame* f, void* p) {
    auto* self = static_cast<Impl*>(p);
    if (f->hd.type == NGHTTP2_RST_STREAM && !self->count_reset()) return int(NGHTTP2_ERR_CALLBACK_FAILURE);
    self->on_frame(f);
    return 0;
  });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      cb, [](nghttp2_session* session, uint8_t, int32_t id, const uint8_t* d, size_t n, void* p) {
        auto* self = static_cast<Impl*>(p);
        nghttp2_session_consume_connection(session, n);  // the stream's window alone holds the peer back
        if (self->events.on_data) self->events.on_data(id, {d, n});
        return 0;
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(cb, [](nghttp2_session*, int32_t id, uint32_t code, void* p) {
    auto* self = static_cast<Impl*>(p);
    self->streams.erase(id);
    if (self->events.on_closed) self->events.on_closed(id, code);
    return 0;
  });
  nghttp2_option* opt;
  nghttp2_option_new(&opt);
  nghttp2_option_set_no_auto_window_update(opt, 1);
  nghttp2_option_set_max_settings(opt, 32);
  nghttp2_option_set_max_outbound_ack(opt, 100);
  nghttp2_option_set_no_closed_streams(opt, 1);
  auto make = role == Role::client ? nghttp2_session_client_new2 : nghttp2_session_server_new2;
  EM_ASSERT(make(&session, cb, this, opt) == 0);
  nghttp2_option_del(opt);
  nghttp2_session_callbacks_del(cb);
  nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.streams},
                                       {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.window},
                                       {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, uint32_t(limits.header_bytes)},
                                       {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
  // A server may not send ENABLE_PUSH (RFC 9113 §6.5.2).
  EM_ASSERT(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, role == Role::client ? 4 : 3) == 0);
  nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, int32_t(limits.window) * 4);
}

// Asks for data until the end; attached with the head, because data may be given before the head is on the wire.
nghttp2_data_provider H2Codec::Impl::provider() {
  nghttp2_data_provider dp{};
  dp.source.ptr = this;
  dp.read_callback = [](nghttp2_session*, int32_t sid, uint8_t* buf, size_t n, uint32_t* flags, nghttp2_data_source* src, void*) {
    return static_cast<Impl*>(src->ptr)->read_out(sid, buf, n, flags);
  };
  return dp;
}

Result<void> H2Codec::Impl::attach_out(int32_t id, Stream& s) {
  if (s.has_provider) {
    nghttp2_session_resume_data(session, id);
    return {};
  }
  nghttp2_data_provider dp = provider();
  int r = nghttp2_submit_data(session, NGHTTP2_FLAG_END_STREAM, id, &dp);
  if (r != 0) return fail(Code::unavailable, "HTTP/2: {}", nghttp2_strerror(r));
  s.has_provider = true;
  return {};
}

H2Codec::H2Codec(Role role, H2Events events, H2Limits l) : impl_(std::make_unique<Impl>()) {
  impl_->role = role;
  impl_->events = std::move(events);
  impl_->limits = l;
  impl_->start();
}

H2Codec::~H2Codec() = default;

Result<void> H2Codec::feed(ByteView in, Instant now) {
  impl_->now = now;
  ssize_t n = nghttp2_session_mem_recv(impl_->session, in.data(), in.size());
  if (n == NGHTTP2_ERR_CALLBACK_FAILURE) {
    go_away(NGHTTP2_ENHANCE_YOUR_CALM);
    return fail(Code::limit, "HTTP/2: the peer reset more than {} streams in 10 s", impl_->limits.resets_per_10s);
  }
  if (n < 0) return fail(Code::invalid, "HTTP/2: {}", nghttp2_strerror(int(n)));
  return {};
}

ByteVec H2Codec::drain(size_t bytes_max) {
  ByteVec out;
  while (out.size() < bytes_max) {
    const uint8_t* p = nullptr;
    ssize_t n = nghttp2_session_mem_send(impl_->session, &p);
    if (n <= 0) break;
    out.insert(out.end(), p, p + n);
  }
  return out;
}

bool H2Codec::is_over() const { return !nghttp2_session_want_read(impl_->session) && !nghttp2_session_want_write(impl_->session); }

Result<int32_t> H2Codec::open(const Headers& headers, bool end) {
  std::vector<std::string> names;
  auto nv = to_nv(headers, names);
  auto dp = impl_->provider();
  int32_t id = nghttp2_submit_request(impl_->session, nullptr, nv.data(), nv.size(), end ? nullptr : &dp, nullptr);
  if (id < 0) return fail(Code::unavailable, "HTTP/2: {}", nghttp2_strerror(id));
  impl_->streams[id].has_provider = !end;
  return id;
}

Result<void> H2Codec::respond(int32_t stream, const Headers& headers, bool end) {
  std::vector<std::string> names;
  auto nv = to_nv(headers, names);
  auto it = impl_->streams.find(stream);
  if (it == impl_->streams.end()) return fail(Code::not_found, "HTTP/2: stream {} is closed", stream);
  auto dp = impl_->provider();
  int r = nghttp2_submit_response(impl_->session, stream, nv.data(), nv.size(), end ? nullptr : &dp);
  if (r < 0) return fail(Code::unavailable, "HTTP/2: {}", nghttp2_strerror(r));
  it->second.has_provider = !end;
  return {};
}

Result<void> H2Codec::send_data(int32_t stream, ByteView data, bool end) {
  auto it = impl_->streams.find(stream);
  if (it == impl_->streams.end() || it->second.end_after_out) return fail(Code::not_found, "HTTP/2: stream {} is closed", stream);
  Stream& s = it->second;
  if (s.out.size() - s.sent + data.size() > impl_->limits.queued_bytes)
    return fail(Code::limit, "HTTP/2: more than {} bytes wait on stream {}", impl_->limits.queued_bytes, stream);
  s.out.append(as_text(data));
  s.end_after_out = end;
  return impl_->attach_out(stream, s);
}

size_t H2Codec::queued(int32_t stream) const {
  auto it = impl_->streams.find(stream);
  return it == impl_->streams.end() ? 0 : it->second.out.size() - it->second.sent;
}

void H2Codec::consume(int32_t stream, size_t bytes) { nghttp2_session_consume_stream(impl_->session, stream, bytes); }

void H2Codec::ping(uint64_t opaque) {
  uint8_t b[8];
  store_be64(b, opaque);
  nghttp2_submit_ping(impl_->session, NGHTTP2_FLAG_NONE, b);
}

void H2Codec::reset(int32_t stream, uint32_t code) { nghttp2_submit_rst_stream(impl_->session, NGHTTP2_FLAG_NONE, stream, code); }
void H2Codec::go_away(uint32_t code) { nghttp2_session_terminate_session(impl_->session, code); }
size_t H2Codec::live_streams() const { return impl_->streams.size(); }

}  // namespace base
