// GET /v1/dns/...: the name server, looked at.
#include <algorithm>
#include <charconv>

#include "base/http/query.h"
#include "daemon/admin/admin.h"
#include "daemon/admin/answers.h"

namespace edgemeshd {

using base::query_parameter;
using Json = nlohmann::ordered_json;

static constexpr size_t kListed = 100, kListedMax = 1000;

static Json to_json(const std::vector<dns::RecordText>& list) {
  Json out = Json::array();
  for (const auto& r : list) out.push_back({{"name", r.name}, {"ttl", r.ttl}, {"type", r.type}, {"data", r.data}});
  return out;
}

static Json to_json(const dns::LookupView& v) {
  const auto& m = v.message;
  return {{"name", v.name}, {"type", v.type}, {"status", m.status}, {"from", v.from}, {"flags", m.flags},
          {"extendedError", m.ede < 0 ? Json(nullptr) : Json(m.ede)}, {"microseconds", v.us}, {"answer", to_json(m.answer)},
          {"authority", to_json(m.authority)}, {"additional", to_json(m.additional)}};
}

static Json to_json(const dns::CacheView& v) {
  Json list = Json::array();
  for (const auto& e : v.list)
    list.push_back({{"name", e.name}, {"type", e.type}, {"status", e.status}, {"records", e.records}, {"bytes", e.bytes}, {"ageSeconds", e.age_s},
                    {"freshSeconds", e.fresh_s}, {"usableSeconds", e.usable_s}});
  return {{"entries", v.entries}, {"bytes", v.bytes}, {"bytesMax", v.bytes_max}, {"list", list}};
}

static Json to_json(const DnsUpstreamsView& v) {
  Json servers = Json::array();
  for (const auto& s : v.servers)
    servers.push_back({{"number", s.number},
                       {"zone", s.zone},
                       {"address", s.address},
                       {"state", s.loops  ? "loop"
                                 : s.down ? "down"
                                          : "up"},
                       {"queries", s.queries},
                       {"silentInARow", s.silent},
                       {"usualMicroseconds", s.usual.count() / 1000},
                       {"p95Microseconds", s.p95.count() / 1000}});
  return {{"inFlight", v.in_flight}, {"servers", servers}};
}

static Json to_json(const std::vector<dns::TopRow>& rows, const char* what) {
  Json out = Json::array();
  for (const auto& r : rows) out.push_back({{what, r.what}, {"queries", r.queries}});
  return out;
}

static size_t limit(const base::Request& q) {
  std::string text = query_parameter(q.query(), "limit");
  size_t n = kListed;
  std::from_chars(text.data(), text.data() + text.size(), n);
  return std::min(n, kListedMax);
}

void Admin::serve_dns(const base::Request& q, base::HttpServer::Respond respond) {
  const std::string_view path = q.path();
  if (!hooks_.dns.lookup) return respond(problem(422, "the name server is off: set dns.enabled"));
  if (path == "/v1/dns/cache") return respond(json_answer(to_json(hooks_.dns.cache(query_parameter(q.query(), "under"), limit(q)))));
  if (path == "/v1/dns/upstreams") return respond(json_answer(to_json(hooks_.dns.upstreams())));
  if (path == "/v1/dns/top") {
    auto t = hooks_.dns.top(limit(q));
    return respond(json_answer({{"seconds", t.seconds}, {"queries", t.queries}, {"names", to_json(t.names, "name")}, {"clients", to_json(t.clients, "client")}}));
  }
  if (path != "/v1/dns/lookup") return respond(problem(404, "here are /v1/dns/lookup, cache, upstreams and top"));
  const std::string name = query_parameter(q.query(), "name");
  if (name.empty()) return respond(problem(400, "name: the name to look up"));
  hooks_.dns.lookup(name, query_parameter(q.query(), "type"), [respond](base::Result<dns::LookupView> v) {
    if (v) return respond(json_answer(to_json(*v)));
    respond(problem(v.error().code == base::Code::invalid ? 400 : 422, v.error().what));
  });
}

}  // namespace edgemeshd
