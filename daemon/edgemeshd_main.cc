// edgemeshd: reads its arguments, starts the daemon, hands it signals, ends. SIGTERM and SIGINT drain, SIGHUP reloads, SIGUSR2 hands over to a successor.
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <new>
#include <string>
#include <string_view>

#include "base/conf/edgemesh_config.h"
#include "base/core/log.h"
#include "base/core/memory.h"
#include "base/core/scheduling.h"
#include "base/loop/signals.h"
#include "daemon/daemon.h"
#include "daemon/klog_flags.h"
#include "tunnel/tun/tun_device.h"

namespace {

constexpr const char* kDefaultConfig = "/etc/edgemeshd/config.yaml";

constexpr const char* kUsage =
    "edgemeshd: service mesh and edge networking, one per node\n"
    "\n"
    "  edgemeshd [--config FILE]       run (default /etc/edgemeshd/config.yaml)\n"
    "  edgemeshd --check-config [FILE] read the file, say what is wrong with it, exit\n"
    "  edgemeshd --print-default-config\n"
    "  edgemeshd --print-config-reference | --print-config-schema\n"
    "  edgemeshd --config-file FILE    as --config; both read EdgeMesh's agent and gateway files too\n"
    "      [-v N]                      as EdgeMesh's: 4 and more is logLevel debug; its other flags of logging do no harm\n"
    "  edgemeshd --defaultconfig[=gateway] | --minconfig[=gateway]   such a file to begin with\n"
    "  edgemeshd --cleanup [DEVICE]    take away what a killed daemon left in the kernel\n"
    "  edgemeshd --version | --help\n"
    "\n"
    "Signals: TERM and INT stop in order, HUP reads the configuration again, USR2 starts the program\n"
    "anew, which takes over without a gap (after an upgrade). Look inside with edgemeshctl.\n";

struct Args {
  std::string config = kDefaultConfig;
  std::string action = "run";
  std::string device = "edgemesh0";
  bool gateway = false;  // of --defaultconfig and --minconfig
  edgemeshd::KlogFlags klog;
};

base::Result<Args> parse(int argc, char** argv) {
  Args a;
  for (int i = 1; i < argc; i++) {
    std::string arg = argv[i];
    EM_TRY_ASSIGN(const int used, edgemeshd::take_klog_flag(arg, i + 1 < argc ? argv[i + 1] : "", a.klog));
    if (used) {
      i += used - 1;
      continue;
    }
    std::string value;
    if (size_t eq = arg.find('='); eq != std::string::npos) value = arg.substr(eq + 1), arg.resize(eq);
    auto take = [&] { return !value.empty() ? value : i + 1 < argc ? std::string(argv[++i]) : std::string(); };
    auto optional = [&](std::string& into) {
      if (!value.empty() || (i + 1 < argc && argv[i + 1][0] != '-')) into = take();
    };
    if (arg == "--config" || arg == "--config-file") a.config = take();
    else if (arg == "--check-config") a.action = "check", optional(a.config);
    else if (arg == "--cleanup") a.action = "cleanup", optional(a.device);
    else if (arg == "--defaultconfig" || arg == "--minconfig") a.action = arg.substr(2), a.gateway = value == "gateway";
    else if (arg == "--print-default-config" || arg == "--print-config-reference" || arg == "--print-config-schema" || arg == "--version")
      a.action = arg.substr(2);
    else if (arg == "--help" || arg == "-h") a.action = "help";
    else return base::fail(base::Code::invalid, "unknown option {}: see edgemeshd --help", arg);
    if (a.config.empty()) return base::fail(base::Code::invalid, "{} needs a file", arg);
  }
  return a;
}

int say(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  return 0;
}

int complain(const base::Error& e) {
  std::fprintf(stderr, "edgemeshd: %s\n", e.what.c_str());
  return 1;
}

void raise_descriptor_limit() {
  rlimit r{};
  if (::getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
    r.rlim_cur = r.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &r);
  }
}

// What stands in the kernel stays, as after a kill: connections go on, and the next start takes it over.
[[noreturn]] void out_of_memory() {
  constexpr std::string_view kText = "edgemeshd: out of memory: allow the service more (MemoryMax= of the unit, the container's limit)\n";
  (void)!::write(STDERR_FILENO, kText.data(), kText.size());
  ::_exit(1);
}

// Settings of an EdgeMesh file that have no effect, each in a line of its own: the log's limit per site is for repetition.
void log_notes(const std::vector<std::string>& notes) {
  for (const std::string& n : notes) {
    base::LogSite site;
    base::log_write(base::LogLevel::warn, "config", site, n);
  }
}

// Rules, routes and the device of a daemon that was killed.
base::Result<void> clean_up(const std::string& device) {
  EM_TRY(edgemesh::Intercept::cleanup(device));
  return tunnel::remove_tun(device);
}

int run(const Args& args) {
  const std::string& path = args.config;
  auto config = base::conf::load_daemon_config(path);
  if (!config) return complain(config.error());
  log_notes(args.klog.notes);
  log_notes(config->notes);
  if (args.klog.level) config->log_level = *args.klog.level;
  raise_descriptor_limit();
  if (!base::keep_memory_out_of_core_dumps())
    EM_LOG(warn, "daemon", "/proc/self/coredump_filter cannot be written: a core dump of this process would hold its keys; forbid them (LimitCORE=0 of the unit)");
  base::return_large_blocks();
  auto opened = base::open_libevent_loop();
  if (!opened) return complain(opened.error());
  const std::unique_ptr<base::Loop> loop = std::move(*opened);
  std::unique_ptr<edgemeshd::Daemon> d;
  auto signals = base::SignalWatch::make(*loop, {SIGTERM, SIGINT, SIGHUP, SIGUSR2}, [&](int signal) {
    if (!d) return loop->stop();
    if (signal == SIGUSR2) {
      if (auto r = d->hand_over(); !r) EM_LOG(error, "daemon", "handover: {}", r.error().what);
      return;
    }
    if (signal != SIGHUP) return d->drain([&] { loop->stop(); });
    if (auto r = d->reload(); !r) EM_LOG(error, "daemon", "reload: {}: the old configuration stays", r.error().what);
  });
  if (!signals) return complain(signals.error());
  const std::string device = config->mesh.enabled ? config->mesh.device : "";
  const bool device_was_there = !device.empty() && base::netlink::link_exists(device);
  auto started = edgemeshd::Daemon::start(std::move(*config), path, *loop);
  if (!started) {  // a device of ours that a predecessor left stays: it may hold what keeps packets from leaking
    if (!device.empty() && !device_was_there) (void)tunnel::remove_tun(device);
    return complain(started.error());
  }
  d = std::move(*started);
  int status = 0;
  d->on_handed_over([&](bool well) {
    status = well ? 0 : 1;
    loop->stop();
  });
  base::answer_promptly();
  loop->run();
  const bool handed_over = d->handed_over();
  d.reset();
  if (device.empty() || handed_over) return status;
  auto clean = tunnel::remove_tun(device);
  return clean ? 0 : complain(clean.error());
}

}  // namespace

int main(int argc, char** argv) {
  std::set_new_handler(out_of_memory);
  auto args = parse(argc, argv);
  if (!args) return complain(args.error());
  if (args->action == "help") return say(kUsage);
  if (args->action == "version") return say(std::string("edgemeshd ") + edgemeshd::kVersion + "\n");
  if (args->action == "print-default-config") return say(base::conf::print_default_config());
  if (args->action == "defaultconfig" || args->action == "minconfig") {
    const auto kind = args->gateway ? base::conf::EdgeMeshKind::gateway : base::conf::EdgeMeshKind::agent;
    return say(base::conf::print_edgemesh_config(kind, args->action == "minconfig"));
  }
  if (args->action == "print-config-reference") return say(base::conf::config_reference_markdown());
  if (args->action == "print-config-schema") return say(base::conf::config_json_schema());
  if (args->action == "cleanup") {
    auto r = clean_up(args->device);
    return r ? 0 : complain(r.error());
  }
  if (args->action == "check") {
    auto config = base::conf::load_daemon_config(args->config);
    if (!config) return complain(config.error());
    for (const auto* notes : {&args->klog.notes, &config->notes})
      for (const std::string& n : *notes) say(n + "\n");
    return say(args->config + ": good\n");
  }
  return run(*args);
}
