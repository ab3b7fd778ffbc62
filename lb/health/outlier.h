// Which endpoints take no new connections, decided from what is noticed about them. Pure: evidence and a time in, verdicts and
// a next deadline out. Endpoints are known by the address and the protocol they are dialled at: one that answers TCP may well be
// dead for UDP.
//
//   healthy --failure--> suspected --failed check, or failures_to_eject failures--> ejected --good checks, or its time--> returning
//       ^--good check, or a success--'                                                  ^--failed check--'   `--in steps--> healthy
//
// An ejection is confirmed once a check of our own failed: a client that cannot reach an endpoint proves little, so ejections
// that rest on clients alone end by themselves and never take more than panic_percent of a port's endpoints (shares()).
// Each ejection within kForgetAfter of the last one holds longer and asks for one more good check.
//
// Nobody can check a UDP service without knowing what it speaks. So its first failure, which is an ICMP error, ejects; it is back
// after at most kUncheckedMax, and the next datagram that is refused ejects it again.
//
// A probe is a check that an operator configured: it goes on all the time, also while all is well. So many failures in a row eject, so
// many successes in a row bring back, and nothing else does: an endpoint may take connections and still answer 503 to the probe.
#pragma once
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/core/time.h"
#include "base/net/addr.h"

namespace lb {

enum class Sign : uint8_t { refused, unreachable, unanswered, unhealthy };  // RST; an ICMP error; silence; a probe's wrong answer
inline constexpr Sign kSigns[] = {Sign::refused, Sign::unreachable, Sign::unanswered, Sign::unhealthy};
const char* to_string(Sign);

struct Dialled {
  base::IpPort at;
  base::Proto proto = base::Proto::tcp;
  Dialled(const base::IpPort& a, base::Proto p = base::Proto::tcp) : at(a), proto(p) {}
  std::string str() const;          // "10.0.0.1:80", "10.0.0.1:53/udp"
  auto operator<=>(const Dialled&) const = default;
};

struct OutlierConfig {
  base::Duration ejection_time = std::chrono::seconds(10);
  uint32_t panic_percent = 50;
  uint32_t failures_to_eject = 5;   // in a row, without waiting for a check
};

inline constexpr uint32_t kFullShare = 4;         // a returning endpoint gets 1, 2, 3, then 4 parts of its share
inline constexpr auto kEjectionMax = std::chrono::minutes(5);
inline constexpr auto kUncheckedMax = std::chrono::minutes(1);    // ejections of endpoints that nobody can check
inline constexpr auto kForgetAfter = std::chrono::minutes(5);
inline constexpr auto kCheckEvery = std::chrono::seconds(1);
inline constexpr auto kCheckEveryMax = std::chrono::seconds(5);   // of endpoints that stay dead
inline constexpr auto kReturnStep = std::chrono::seconds(1);

struct Outlier {
  enum class State : uint8_t { healthy, suspected, ejected, returning };
  State state = State::healthy;
  Sign sign = Sign::unanswered;     // what was noticed last
  bool confirmed = false;
  uint32_t share = kFullShare;
  uint32_t failures = 0;            // in a row
  uint32_t good_checks = 0;         // in a row, while ejected
  uint32_t bad_checks = 0;
  uint32_t ejections = 0;           // lately
  base::Instant since{};            // of this state
  base::Instant until{};            // ejected: the end; returning: the next step
  std::optional<base::Instant> check_at;
  bool is_checking = false;
  uint32_t bad_probes = 0;  // in a row
  std::string detail;       // what the last bad probe was told: "GET /healthz: status 503"

  // Out whatever becomes of the others. Not what a probe was answered: it may have asked for the wrong thing, and everybody alike.
  bool is_dead_for_sure() const { return confirmed && sign != Sign::unhealthy; }
};

// For people: "healthy", "ejected 12 s ago: refused, checked".
std::string words(const Outlier*, base::Instant now);

class OutlierDetector {
 public:
  using Addr = Dialled;
  explicit OutlierDetector(OutlierConfig c) : config_(c) {}

  // Evidence. Each says whether the endpoint's part in balancing changed.
  bool failed(const Addr&, Sign, base::Instant now);
  bool succeeded(const Addr&, base::Instant now);
  bool checked(const Addr&, std::optional<Sign> failure, base::Instant now);
  void unchecked(const Addr&, base::Instant now);      // the check told nothing: again later

  // Probes: who is probed, and what each probe found.
  struct Thresholds {
    uint32_t failures = 3, successes = 2;  // in a row
    bool operator==(const Thresholds&) const = default;
  };
  void watch(const Addr&, Thresholds);
  void unwatch(const Addr&, base::Instant now);  // checks of our own decide again
  bool probed(const Addr&, std::optional<Sign> failure, std::string detail, base::Instant now);

  // At most `max` endpoints whose check is due; each is to be answered by checked().
  std::vector<Addr> take_checks(base::Instant now, size_t max);
  // What time alone changes: ends of ejections and steps of return. -> endpoints whose part changed.
  std::vector<Addr> advance(base::Instant now);
  std::optional<base::Instant> next_deadline() const;  // of take_checks() or advance()

  const Outlier* find(const Addr&) const;              // null: nothing bad is known
  bool quiet() const { return outliers_.empty(); }
  size_t ejected() const;
  uint64_t ejections_total(Sign s) const { return ejections_total_[size_t(s)]; }
  std::vector<Addr> addresses() const;
  void forget(const Addr& a) { outliers_.erase(a); }
  uint32_t panic_percent() const { return config_.panic_percent; }

 private:
  Outlier* entry(const Addr&, base::Instant now);
  void eject(const Addr&, Outlier&, bool confirmed, base::Instant now);
  void hold(const Addr&, Outlier&, base::Instant now) const;
  static void recover(Outlier&, base::Instant now);
  static void come_back(Outlier&, base::Instant now);

  OutlierConfig config_;
  std::map<Addr, Outlier> outliers_;
  std::map<Addr, Thresholds> watched_;
  uint64_t ejections_total_[std::size(kSigns)] = {};
};

// The parts of one port's endpoints: 0 takes no new connections, others in proportion (all 1 when nobody is special).
// Those dead for sure count as they are, other ejections only while at most panic_percent of the port are ejected, and when
// everybody would be, nobody is (panic): a wrong verdict must not take a service away. null: nothing bad is known.
std::vector<uint32_t> shares(std::span<const Outlier* const>, uint32_t panic_percent);

}  // namespace lb
