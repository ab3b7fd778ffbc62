// For tests: an API server as a list of requests that wait for their answers, and a sink that keeps what it was told.
#pragma once
#include <gtest/gtest.h>

#include <list>
#include <map>

#include "base/kube/api_client.h"
#include "base/kube/source.h"

namespace base::kube {

class FakeApi final : public ApiClient {
 public:
  struct Asked {
    std::string target;
    ApiHandler handler;
    bool live = true;  // not yet dropped nor ended

    void head(int status, Headers h = {}) { if (live) handler.on_head(status, h); }
    void body(std::string_view b) { if (live) ApiHandler(handler).on_body(b); }
    void end(Result<void> r = {}) {
      if (std::exchange(live, false)) ApiHandler(handler).on_end(r);
    }
    void answer(int status, std::string_view text, Headers h = {}) {
      head(status, h);
      body(text);
      end();
    }
    void drop() { end(fail(Code::unavailable, "https://api: the connection was closed")); }
  };
  using AskedPtr = std::shared_ptr<Asked>;

  std::unique_ptr<ApiCall> get(const std::string& target, ApiHandler h) override {
    struct Call final : ApiCall {
      AskedPtr a;
      ~Call() override { a->live = false; }
    };
    auto call = std::make_unique<Call>();
    call->a = std::make_shared<Asked>(Asked{target, std::move(h)});
    asked.push_back(call->a);
    return call;
  }
  std::string server() const override { return "https://api"; }

  // The oldest live request for a target that begins so, taken off the list; null when there is none.
  AskedPtr take(std::string_view prefix) {
    for (auto it = asked.begin(); it != asked.end(); ++it)
      if ((*it)->live && (*it)->target.starts_with(prefix)) {
        auto a = *it;
        asked.erase(it);
        return a;
      }
    return nullptr;
  }
  std::list<AskedPtr> asked;
};

struct KeptObjects : ObjectSink {
  std::map<std::string, PackedObject> all;  // "Service n/a"
  std::vector<std::string> lines, log;
  std::map<Kind, int> synced_kinds;

  void replace(Kind k, std::vector<PackedObject> now) override {
    std::erase_if(all, [&](auto& e) { return e.second.kind() == k; });
    log.push_back(fmt::format("{}*{}", to_string(k), now.size()));
    for (auto& o : now) all[o.label()] = o;
  }
  void upsert(PackedObject o) override {
    log.push_back("+" + o.label());
    all[o.label()] = o;
  }
  void remove(Kind k, const ObjectName& id) override {
    log.push_back(std::string("-") + to_string(k) + " " + id.str());
    all.erase(std::string(to_string(k)) + " " + id.str());
  }
  void synced(Kind k) override { ++synced_kinds[k]; }
  void error(const std::string& line) override { lines.push_back(line); }
  bool said(std::string_view part) const {
    for (auto& l : lines)
      if (l.find(part) != l.npos) return true;
    return false;
  }
};

inline std::string service_json(const std::string& name, const std::string& version, const std::string& ip = "10.96.0.1") {
  return R"({"metadata":{"name":")" + name + R"(","namespace":"n","resourceVersion":")" + version + R"("},"spec":{"clusterIP":")" + ip + R"(","ports":[{"port":80}]}})";
}
inline std::string list_json(const std::string& kind, const std::string& version, const std::vector<std::string>& items, const std::string& next = "") {
  std::string out = R"({"kind":")" + kind + R"(List","apiVersion":"v1","metadata":{"resourceVersion":")" + version + R"(","continue":")" + next + R"("},"items":[)";
  for (size_t i = 0; i < items.size(); ++i) out += (i ? "," : "") + items[i];
  return out + "]}";
}
inline std::string event_json(const std::string& type, const std::string& object) { return R"({"type":")" + type + R"(","object":)" + object + "}\n"; }

}  // namespace base::kube
