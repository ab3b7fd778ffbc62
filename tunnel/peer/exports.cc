#include "tunnel/peer/exports.h"

#include <algorithm>

#include "base/core/limits.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kAnswerWithin = 5s, kRetryRenewal = 10s;
constexpr base::Duration kAskedAgainWithin = 75s;  // a new process gives its predecessor's rules up after 60 s
}  // namespace

void ExportLedger::ask(const ExportRequest& what, Callback done, base::Instant now) {
  now_ = now;
  auto it = held_.find(what);
  if (it != held_.end() && it->second.grant) return done(*it->second.grant);
  if (it == held_.end() && held_.size() >= base::limits::kExportsPerPeerMax)
    return done(base::fail(base::Code::limit, "{} exports of one peer are in use, no more are asked for", held_.size()));
  Held& h = held_[what];
  h.waiting.push_back(std::move(done));
  if (!h.give_up) h.give_up = now + kAnswerWithin;
  if (hooks_.is_up()) send(what, now);
}

void ExportLedger::send(const ExportRequest& what, base::Instant now) {
  auto it = held_.find(what);
  if (it == held_.end() || it->second.asked) return;
  it->second.asked = true;
  it->second.renew = now + kRetryRenewal;
  hooks_.request(what, [this, what](base::Result<ControlBody> r) { on_answer(what, std::move(r)); });
}

void ExportLedger::on_answer(const ExportRequest& what, base::Result<ControlBody> r) {
  auto it = held_.find(what);
  if (it == held_.end()) return;
  Held& h = it->second;
  h.asked = false;
  bool unreachable = !r && (r.error().code == base::Code::timeout || r.error().code == base::Code::unavailable);
  if (unreachable && h.grant) return;  // asked again before the lease ends
  if (unreachable) return finish(h, tl::unexpected(r.error()));
  auto* reply = r ? std::get_if<ExportReply>(&*r) : nullptr;
  if (reply && reply->grant) {
    bool moved = h.grant && h.grant->at != reply->grant->at;
    h.grant = reply->grant;
    h.renew = now_ + h.grant->lease / 2;
    h.over = now_ + h.grant->lease;
    if (moved) hooks_.on_withdrawn(what);  // whoever uses it asks again and gets the new port
    return finish(h, *h.grant);
  }
  bool had = h.grant.has_value();
  Held last = std::move(h);
  held_.erase(it);
  finish(last, base::fail(base::Code::denied, "{}", reply ? reply->error : r ? "the peer does not know exports" : r.error().what));
  if (had) hooks_.on_withdrawn(what);
}

void ExportLedger::finish(Held& h, const base::Result<ExportGrant>& r) {
  h.give_up.reset();
  for (auto& done : std::exchange(h.waiting, {})) done(r);
}

void ExportLedger::release(const ExportRequest& what) {
  auto node = held_.extract(what);
  if (!node) return;
  finish(node.mapped(), base::fail(base::Code::unavailable, "released"));
  if (hooks_.is_up()) hooks_.request(ExportRelease{what}, [](auto) {});
}

void ExportLedger::withdraw(const ExportRequest& what) {
  if (granted_.erase(what) && hooks_.is_up()) hooks_.request(ExportWithdraw{what}, [](auto) {});
}

std::optional<ControlBody> ExportLedger::on_request(const ControlBody& body, base::Instant now) {
  now_ = now;
  if (auto* ask = std::get_if<ExportRequest>(&body)) return grant(*ask, now);
  if (auto* r = std::get_if<ExportRelease>(&body)) {
    if (granted_.erase(r->what)) hooks_.on_released(r->what);
    return Ack{};
  }
  if (auto* w = std::get_if<ExportWithdraw>(&body)) {
    auto node = held_.extract(w->what);
    if (node) {
      finish(node.mapped(), base::fail(base::Code::unavailable, "the peer took it back"));
      hooks_.on_withdrawn(w->what);
    }
    return Ack{};
  }
  return std::nullopt;
}

ControlBody ExportLedger::grant(const ExportRequest& what, base::Instant now) {
  bool known = granted_.contains(what);
  if (!known && granted_.size() >= base::limits::kExportsPerPeerMax)
    return ExportReply{std::nullopt, fmt::format("this node exports at most {} endpoints to one peer", base::limits::kExportsPerPeerMax)};
  auto r = hooks_.decide(what);
  if (!r) {
    if (known && granted_.erase(what)) hooks_.on_released(what);
    return ExportReply{std::nullopt, r.error().what};
  }
  granted_[what] = now + r->lease + 15s;  // the other side counts from when the answer came
  return ExportReply{*r, ""};
}

void ExportLedger::on_up(base::Instant now) {
  now_ = now;
  std::vector<ExportRequest> open;
  for (const auto& [what, h] : held_)
    if (!h.grant) open.push_back(what);
  for (const auto& what : open) send(what, now);
}

// What it has of us its kernel still leads to us, and our flows through it go on: so both ask again, and nothing is taken away before.
void ExportLedger::peer_restarted(base::Instant now) {
  now_ = now;
  for (auto& [what, until] : granted_) until = std::min(until, now + kAskedAgainWithin);
  for (auto& [what, h] : held_) {
    h.asked = false;
    if (!h.grant) continue;  // still waiting for its first answer: asked again
    h.renew = now;
    h.over = std::min(h.over, now + kAskedAgainWithin);
  }
}

void ExportLedger::peer_forgot(base::Instant now) {
  now_ = now;
  for (auto& [what, until] : std::exchange(granted_, {})) hooks_.on_released(what);
  std::vector<ExportRequest> lost;
  for (auto it = held_.begin(); it != held_.end();) {
    it->second.asked = false;
    if (!it->second.grant) {
      ++it;  // still waiting for its first answer: asked again
      continue;
    }
    lost.push_back(it->first);
    it = held_.erase(it);
  }
  for (const auto& what : lost) hooks_.on_withdrawn(what);
}

void ExportLedger::tick(base::Instant now) {
  now_ = now;
  std::vector<ExportRequest> released, lost, due;
  for (auto it = granted_.begin(); it != granted_.end();) {
    if (now < it->second) { ++it; continue; }
    released.push_back(it->first);
    it = granted_.erase(it);
  }
  std::vector<Held> late;
  for (auto it = held_.begin(); it != held_.end();) {
    Held& h = it->second;
    if (h.grant && now >= h.renew && hooks_.is_up()) due.push_back(it->first);
    bool over = h.grant && now >= h.over, gave_up = !h.grant && h.give_up && now >= *h.give_up;
    if (over) lost.push_back(it->first);
    if (gave_up || over) late.push_back(std::move(h));
    it = gave_up || over ? held_.erase(it) : std::next(it);
  }
  for (Held& h : late) finish(h, base::fail(base::Code::timeout, "no session with the peer within 5 s"));
  for (const auto& what : released) hooks_.on_released(what);
  for (const auto& what : lost) hooks_.on_withdrawn(what);
  for (const auto& what : due) send(what, now);  // last: an answer that comes at once changes held_
}

std::optional<base::Instant> ExportLedger::next_deadline() const {
  std::optional<base::Instant> out;
  auto earliest = [&](base::Instant t) { out = out ? std::min(*out, t) : t; };
  for (const auto& [what, until] : granted_) earliest(until);
  for (const auto& [what, h] : held_) {
    if (h.give_up) earliest(*h.give_up);
    if (h.grant) earliest(hooks_.is_up() && !h.asked ? std::min(h.renew, h.over) : h.over);
  }
  return out;
}

}  // namespace tunnel
