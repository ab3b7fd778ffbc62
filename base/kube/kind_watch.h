// KindWatch follows all objects of one kind on an API server: list in pages, then watch from there, for ever.
//
//   list page 1 .. n --whole--> told --> watch --ends--> watch again from the last resourceVersion
//     ^  |fails: back off         ^         |410, a broken line, relist_always: list again
//     '--+------------------------'---------'
//
// - The watch goes on where it ended: objects and bookmarks move the resourceVersion. 410 Gone, a line that is no event,
//   or a version that goes back lists anew.
// - Back-off doubles from 0.2 s to 30 s with jitter, starts over after a watch that held, and is never shorter than a Retry-After.
//   A server that was out of reach is tried by all kinds; the first that is answered tells the others (on_answer, server_answers).
// - 404 on every known path is not an error but on_absent (a CRD that is not there); looked for again every minute.
// - Nothing is believed half: what was told before stays until a list is whole. An object that cannot be read is left out
//   with a line, or stays as it was when it had been read before; everything else is told.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/core/metrics.h"
#include "base/core/rng.h"
#include "base/kube/api_client.h"
#include "base/kube/json_objects.h"
#include "base/kube/list_reader.h"
#include "base/kube/packed.h"
#include "base/loop/loop.h"

namespace base::kube {

class KindWatch {
 public:
  struct Config {
    Kind kind = Kind::service;
    std::vector<std::string> paths;  // one per version, the preferred first: "/apis/discovery.k8s.io/v1/endpointslices"
    std::string query;               // of every list and watch: "fieldSelector=..."
    // A MetaServer: resourceVersions mean nothing there, so that each watch begins with a list; errors of kinds it may lack
    // count as their absence; and see hold_empty.
    bool meta_server = false;
    bool may_be_absent = false;
    // An empty list is not believed for so long, and asked for again, when there were objects or there must be some.
    Duration hold_empty{0};
    bool never_empty = false;  // no cluster is without one
  };
  struct Hooks {
    std::function<void(std::vector<PackedObject>)> on_list;  // sorted by name
    std::function<void(PackedObject)> on_upsert;
    std::function<void(const ObjectName&)> on_remove;
    std::function<void()> on_absent;
    std::function<void(const std::string& line)> on_error;  // once for each new trouble
    std::function<void()> on_answer;                        // the server said something after it had been out of reach
  };
  struct Counters {
    Counter &lists, &events, &failures, &bad_objects, &bytes;
    Gauge& watching;
  };

  KindWatch(Loop&, Rng&, ApiClient&, Config, Hooks, Counters);  // starts with the next turn
  ~KindWatch();
  const std::string& trouble() const { return trouble_; }  // "": all is well
  // The server answered somebody: a wait that only an unreachable server was the reason of ends soon, with a jitter of its own.
  void server_answers();
  std::vector<std::string> problems() const;               // trouble and unreadable objects

 private:
  enum class State { waiting, listing, watching };
  enum class Next { list, watch };

  void begin();
  void list_page();
  void on_page_head(int status, const Headers&);
  void on_page_body(std::string_view);
  void on_page_end(const Result<void>&);
  void on_item(std::string& text);
  void note_bad(std::map<std::string, std::string>& in, const ObjectName&, const std::string& line);
  void finish_list();
  bool holds_empty();
  void watch();
  void on_watch_body(std::string_view);
  void on_watch_end(const Result<void>&);
  bool on_line(std::string& line);
  void on_object_event(WatchEvent&);
  void on_refusal();
  void on_broken(const std::string& why, Next);
  void on_not_found(const std::string& message);
  void retry(Next, Duration at_least = Duration{0});
  void fail_with(std::string line, Next);
  void say(std::string line);
  void well();
  void set_state(State);
  void arm_quiet(Duration);
  void on_quiet();
  std::string target(std::string more) const;
  std::string place() const { return client_.server() + config_.paths[path_]; }

  Loop& loop_;
  Rng& rng_;
  ApiClient& client_;
  Config config_;
  Hooks hooks_;
  Counters counters_;
  JsonReader json_;

  State state_ = State::waiting;
  Next next_ = Next::list;
  size_t path_ = 0, paths_missing_ = 0;
  std::unique_ptr<ApiCall> call_;
  int status_ = 0;
  Duration retry_after_{0};
  std::string refusal_;  // the body of an answer that is not 200
  // listing
  std::optional<ListReader> reader_;
  std::vector<PackedObject> found_;
  std::string page_token_;
  std::optional<Error> list_error_;
  uint64_t list_bytes_ = 0;
  bool in_pages_ = true;  // false: after a page token had expired, all at once
  // watching
  std::string line_, version_;
  bool relist_ = false;
  uint64_t lines_ = 0;
  // both
  std::string trouble_, said_;
  Instant said_at_{};
  bool muted_ = false;
  bool unreached_ = false;  // the last call ended without any answer
  std::map<std::string, std::string> bad_, bad_found_;  // object -> line; of the last list and since, of the list being read
  bool had_objects_ = false, listed_ = false;
  std::optional<Instant> empty_since_;
  Instant began_{};
  Duration backoff_{0};
  std::unique_ptr<Timer> retry_timer_, quiet_timer_;
};

}  // namespace base::kube
