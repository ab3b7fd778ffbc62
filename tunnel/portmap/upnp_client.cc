#include "tunnel/portmap/upnp_client.h"

#include <algorithm>

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kWaitForPcp = 3s, kSearchGap = 750ms, kAnswerWithin = 6s;
constexpr int kSearches = 4, kPortTries = 4;
constexpr uint32_t kLifetime = 3600;
constexpr base::Duration kPauseMin = 10min, kPauseMax = 2h, kRenewMin = 10s, kCheckGap = 60s;
constexpr int kConflict = 718, kOnlyForEver = 725;
constexpr uint16_t kFirstPort = 20000, kPorts = 40000;

base::Counter& requests(base::Metrics& m, const char* event) {
  return m.counter("edgemeshd_tunnel_port_mapping_total",
                   "What became of asking the router for a forwarded port: asked, granted, refused, forgotten by it.", {{"event", event}});
}
}  // namespace

UpnpClient::UpnpClient(uint16_t own_port, Hooks h, base::Rng& rng, base::Metrics& m)
    : own_port_(own_port),
      hooks_(std::move(h)),
      rng_(rng),
      asked_(requests(m, "asked")),
      granted_(requests(m, "granted")),
      refused_(requests(m, "refused")) {}

void UpnpClient::set_way(std::optional<PortmapWay> way, base::Instant now) {
  if (way == way_) return;
  way_ = std::move(way);
  service_.reset();
  for_ever_ = false;
  pause_ = {};
  trouble_.clear();
  port_ = own_port_;
  state_ = way_ ? State::waiting : State::off;
  due_ = way_ ? now + kWaitForPcp : base::Instant::max();
  set_outside(std::nullopt);  // it was that router's
}

void UpnpClient::check(base::Instant now) {
  if (!outside_ || state_ != State::rest || now - last_check_ < kCheckGap) return;
  last_check_ = now;
  due_ = now;
}

void UpnpClient::tick(base::Instant now) {
  if (outside_ && now >= expires_) set_outside(std::nullopt);
  if (now < due_) return;
  switch (state_) {
    case State::off:
      due_ = base::Instant::max();
      return;
    case State::waiting:
    case State::rest:
      return begin(now);
    case State::searching:
      if (tries_ >= kSearches) return give_up("no UPnP", now);
      for (const base::IpAddr& to : {way_->router, base::IpAddr::v4(kSsdpGroup)}) hooks_.search({to, kSsdpPort}, make_ssdp_search());
      tries_++;
      due_ = now + kSearchGap;
      return;
    default:
      return on_failed(now);
  }
}

void UpnpClient::begin(base::Instant now) {
  tries_ = 0;
  if (service_)
    return ask(State::address, {service_->control, soap_action(*service_, "GetExternalIPAddress"), make_soap_get_address(*service_)}, now);
  state_ = State::searching;
  due_ = now;
  tick(now);
}

void UpnpClient::ask(State next, UpnpAsk what, base::Instant now) {
  state_ = next;
  due_ = now + kAnswerWithin;
  hooks_.ask(std::move(what));
}

void UpnpClient::on_search_answer(const base::IpPort& from, std::string_view m, base::Instant now) {
  if (state_ != State::searching || from.ip != way_->router) return;
  auto place = read_ssdp(m);
  if (!place || place->server.ip != way_->router) return;
  description_ = *place;
  ask(State::describing, {*place, "", ""}, now);
}

void UpnpClient::on_answer(int status, std::string_view body, base::Instant now) {
  if (state_ == State::describing) {
    service_ = status == 200 ? read_description(body, description_) : std::nullopt;
    if (!service_) return give_up("UPnP without a service that forwards ports", now);
    return begin(now);
  }
  const UpnpAnswer a = read_soap(body);
  if (state_ == State::address) {
    if (status != 200 || !a.address) return give_up("UPnP, but the router has no outside address", now);
    address_ = *a.address;
    return add(now);
  }
  if (state_ != State::adding) return;
  if (status == 200) return on_added(now);
  on_refused(a.error, now);
}

void UpnpClient::add(base::Instant now) {
  asked_.add();
  const UpnpMapping m{port_, own_port_, way_->own, for_ever_ ? 0 : kLifetime};
  ask(State::adding, {service_->control, soap_action(*service_, "AddPortMapping"), make_soap_add(*service_, m)}, now);
}

void UpnpClient::on_added(base::Instant now) {
  granted_.add();
  state_ = State::rest;
  pause_ = {};
  trouble_.clear();
  const base::Duration life = std::chrono::seconds(kLifetime);  // also where it is for ever: the router may be another one by then
  expires_ = now + life;
  due_ = now + life / 2;
  set_outside(base::IpPort{address_, port_});
}

void UpnpClient::on_refused(int error, base::Instant now) {
  if (error == kOnlyForEver && !for_ever_) {
    for_ever_ = true;
    return add(now);
  }
  if (error == kConflict && ++tries_ < kPortTries) {
    port_ = uint16_t(kFirstPort + rng_.below(kPorts));
    return add(now);
  }
  refused_.add();
  set_outside(std::nullopt);
  give_up(std::string("the router refuses by UPnP: ") + upnp_trouble(error), now);
}

void UpnpClient::on_failed(base::Instant now) {
  if (state_ == State::describing || state_ == State::address || state_ == State::adding) give_up("UPnP that does not answer", now);
}

// A mapping that stands is not forgotten for one question without an answer.
void UpnpClient::give_up(const std::string& why, base::Instant now) {
  state_ = State::rest;
  service_.reset();  // the router may be another one, or have moved its control to another port
  if (outside_) {
    due_ = now + std::max<base::Duration>(kRenewMin, (expires_ - now) / 2);
    return;
  }
  trouble_ = why;
  pause_ = std::clamp<base::Duration>(pause_ * 2, kPauseMin, kPauseMax);
  due_ = now + pause_;
}

std::optional<UpnpAsk> UpnpClient::farewell() const {
  if (!outside_ || !service_) return std::nullopt;
  return UpnpAsk{service_->control, soap_action(*service_, "DeletePortMapping"), make_soap_delete(*service_, outside_->port)};
}

void UpnpClient::set_outside(std::optional<base::IpPort> to) {
  if (outside_ == to) return;
  outside_ = to;
  hooks_.on_change();
}

}  // namespace tunnel
