#include "dns/server/udp_listener.h"

namespace dns {

static constexpr size_t kBatch = Responder::kBatch;
static constexpr int kBatchesPerTurn = 16;

UdpListener::UdpListener(base::Loop& loop, base::UniqueFd fd, Responder& r, bool wildcard)
    : fd_(std::move(fd)),
      responder_(&r),
      wildcard_(wildcard),
      batch_(kBatch, std::max(r.udp_payload_max(), kUdpMin), wildcard),
      late_writer_(1),
      alive_(std::make_shared<UdpListener*>(this)),
      watch_(loop.watch(fd_.get(), base::kFdRead, [this](base::FdEvents) { on_readable(); })) {}

void UdpListener::on_readable() {
  for (int i = 0; i < kBatchesPerTurn; i++) {
    size_t n = batch_.receive(fd_.get()).value_or(0);
    if (!n) return;
    for (size_t k = 0; k < n; k++) responder_->look_1(k, batch_.request(k));
    for (size_t k = 0; k < n; k++) responder_->look_2(k);
    for (size_t k = 0; k < n; k++) responder_->look_3(k);
    for (size_t k = 0; k < n; k++) one(k);
    batch_.flush(fd_.get());
    responder_->count();
    if (n < kBatch) return;
  }
}

void UdpListener::one(size_t i) {
  auto a = responder_->answer_ahead(i, {batch_, i}, batch_.slot(i));
  if (a.kind == Responder::Answered::Kind::wait) return answer_later(i);
  if (a.kind == Responder::Answered::Kind::reply) batch_.reply(i, a.size);
}

void UdpListener::answer_later(size_t i) {
  std::optional<base::IpAddr> source;
  if (wildcard_) source = batch_.local(i);
  responder_->wait_for(Transport::udp, [alive = std::weak_ptr(alive_), to = batch_.from(i), source](base::ByteView reply) {
    auto self = alive.lock();
    if (!self) return;
    UdpListener& l = **self;
    l.late_writer_.add({.to = to, .data = reply, .source = source});
    l.late_writer_.flush(l.fd_.get());
    l.late_writer_.clear();
  });
}

}  // namespace dns
