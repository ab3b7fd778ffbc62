#include "daemon/ctl/commands.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <set>

#include "base/conf/daemon_config.h"
#include "base/core/rng.h"
#include "base/core/wall_clock.h"
#include "cloud/ca/ca_cli.h"
#include "daemon/ctl/netcheck.h"
#include "edgemesh/intercept/intercept.h"
#include "tunnel/tun/tun_device.h"

namespace edgemeshd {

using base::Result;

static constexpr const char* kUsage =
    "edgemeshctl: look at and steer the edgemeshd of this node\n"
    "\n"
    "  edgemeshctl status                      what runs, and what is wrong\n"
    "  edgemeshctl services                    services the node knows\n"
    "  edgemeshctl explain NAMESPACE/NAME      the way to each endpoint, and why\n"
    "  edgemeshctl peers | paths               sessions with other nodes; their paths\n"
    "  edgemeshctl nat                         the NAT before this node and those of its peers; what punching tried\n"
    "  edgemeshctl lan                         peers heard on this node's links by multicast DNS\n"
    "  edgemeshctl netcheck                    the same in words, with what can be done\n"
    "  edgemeshctl dns lookup NAME [TYPE]      what a client on this node is told, and where it comes from\n"
    "  edgemeshctl dns cache [DOMAIN]          answers of upstreams that are kept\n"
    "  edgemeshctl dns upstreams | dns top     servers for other names; who asks most, and what\n"
    "  edgemeshctl ping NODE                   round trip through the mesh\n"
    "  edgemeshctl reload                      read the configuration again\n"
    "  edgemeshctl handover                    start the program anew (after an upgrade); it takes over without a gap\n"
    "  edgemeshctl config check FILE           what is wrong with a configuration\n"
    "  edgemeshctl cleanup [DEVICE]            take away what a killed daemon left in the kernel\n"
    "  edgemeshctl ca init  --dir DIR --trust-domain NAME [--overlay CIDR]\n"
    "  edgemeshctl ca issue --dir DIR NODE [--out DIR] [--overlay IP]... [--pod-cidr CIDR]... [--role relay] [--days N] [--renew]\n"
    "  edgemeshctl ca deny  --dir DIR NODE|CERT\n"
    "\n"
    "  -o json             the same for programs\n"
    "  --socket PATH       admin socket (default /run/edgemeshd/admin.sock)\n";

// Options in any place: "--name value", "--name=value", "-o json"; the rest are words.
struct Options {
  std::vector<std::string> words;
  std::map<std::string, std::vector<std::string>> named;
  std::string error;
  std::string one(const std::string& name, std::string otherwise = "") const {
    auto it = named.find(name);
    return it == named.end() ? otherwise : it->second.back();
  }
  std::vector<std::string> all(const std::string& name) const {
    auto it = named.find(name);
    return it == named.end() ? std::vector<std::string>{} : it->second;
  }
  bool json() const { return one("-o") == "json"; }
};

static Options read_options(const std::vector<std::string>& args) {
  static const std::set<std::string> with_value = {"-o",    "--socket",  "--dir",  "--trust-domain", "--overlay",
                                                   "--out", "--pod-cidr", "--role", "--days"};
  static const std::set<std::string> flags = {"--renew", "--help", "-h"};
  Options o;
  for (size_t i = 0; i < args.size(); i++) {
    std::string name = args[i], value;
    size_t eq = name.rfind("--", 0) == 0 ? name.find('=') : std::string::npos;
    if (eq != std::string::npos) value = name.substr(eq + 1), name.resize(eq);
    if (flags.count(name)) o.named[name] = {"true"};
    else if (!with_value.count(name) && name[0] == '-') o.error = "unknown option " + name;
    else if (name[0] != '-') o.words.push_back(name);
    else if (eq != std::string::npos) o.named[name].push_back(value);
    else if (i + 1 < args.size()) o.named[name].push_back(args[++i]);
    else o.error = name + " needs a value";
  }
  return o;
}

static CtlResult finish(Result<std::string> r) {
  if (r) return {0, *r, ""};
  return {1, "", r.error().what};
}

static CtlResult usage(const std::string& what) { return {2, "", what + ": see edgemeshctl --help"}; }

static CtlResult run_ca(const Options& o) {
  base::SystemRng rng;
  const std::string verb = o.words.size() > 1 ? o.words[1] : "";
  if (o.one("--dir").empty()) return usage("ca: --dir names the authority's directory");
  if (verb == "init") return finish(cloud::ca_init({o.one("--dir"), o.one("--trust-domain"), o.one("--overlay")}, rng, base::wall_now()));
  if (o.words.size() < 3) return usage("ca " + verb + ": name the node");
  if (verb == "deny") return finish(cloud::ca_deny({o.one("--dir"), o.words[2]}, rng, base::wall_now()));
  if (verb != "issue") return usage("ca: init, issue or deny");
  cloud::CaIssueArgs a;
  a.dir = o.one("--dir");
  a.node = o.words[2];
  a.out = o.one("--out");
  a.overlay = o.all("--overlay");
  a.pod_cidrs = o.all("--pod-cidr");
  a.roles = o.all("--role");
  a.renew = !o.one("--renew").empty();
  a.json = o.json();
  std::string days = o.one("--days", "90");
  if (days.empty() || days.size() > 5 || days.find_first_not_of("0123456789") != std::string::npos) return usage("ca issue: --days is a number");
  a.days = std::stoi(days);
  return finish(cloud::ca_issue(a, rng, base::wall_now()));
}

static CtlResult run_dns(const Options& o, const AdminCall& call) {
  auto word = [&](size_t i) { return i < o.words.size() ? o.words[i] : ""; };
  const std::string verb = word(1);
  if (verb == "lookup") return word(2).empty() ? usage("dns lookup NAME [TYPE]") : finish(show_dns_lookup(call, word(2), word(3)));
  if (verb == "cache") return finish(show_dns_cache(call, word(2)));
  if (verb == "upstreams") return finish(show_dns_upstreams(call));
  if (verb == "top") return finish(show_dns_top(call));
  return usage("dns: lookup, cache, upstreams or top");
}

CtlResult run_ctl(const std::vector<std::string>& args) {
  Options o = read_options(args);
  if (!o.error.empty()) return usage(o.error);
  if (o.words.empty() || !o.one("--help").empty() || !o.one("-h").empty()) return {o.words.empty() && args.empty() ? 2 : 0, kUsage, ""};
  if (std::string f = o.one("-o", "json"); f != "json") return usage("-o: only json");
  const std::string& verb = o.words[0];
  const std::string word = o.words.size() > 1 ? o.words[1] : "";
  if (verb == "ca") return run_ca(o);
  if (verb == "cleanup") {
    const std::string device = word.empty() ? "edgemesh0" : word;
    auto r = edgemesh::Intercept::cleanup(device);
    if (r) r = tunnel::remove_tun(device);
    return r ? CtlResult{} : CtlResult{1, "", r.error().what};
  }
  if (verb == "config") {
    if (word != "check" || o.words.size() < 3) return usage("config check FILE");
    auto config = base::conf::load_daemon_config(o.words[2]);
    if (!config) return {1, "", config.error().what};
    std::string out;
    for (const std::string& n : config->notes) out += n + "\n";
    return {0, out + o.words[2] + ": good\n", ""};
  }
  AdminCall call{o.one("--socket", "/run/edgemeshd/admin.sock"), o.json()};
  if (verb == "status") return finish(show_status(call));
  if (verb == "dns") return run_dns(o, call);
  if (verb == "services") return finish(show_services(call));
  if (verb == "peers") return finish(show_peers(call));
  if (verb == "paths") return finish(show_paths(call));
  if (verb == "nat") return finish(show_nat(call));
  if (verb == "lan") return finish(show_lan(call));
  if (verb == "netcheck") return finish(show_netcheck(call));
  if (verb == "reload") return finish(do_reload(call));
  if (verb == "handover") return finish(do_handover(call));
  if (verb == "explain") return word.find('/') == std::string::npos ? usage("explain NAMESPACE/NAME") : finish(show_explain(call, word));
  if (verb == "ping") return word.empty() ? usage("ping NODE") : finish(do_ping(call, word));
  return usage("unknown command " + verb);
}

}  // namespace edgemeshd
