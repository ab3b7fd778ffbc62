#include "base/conf/schema.h"

#include <gtest/gtest.h>

#include "base/conf/yaml.h"

namespace base::conf {
namespace {

enum class Mode { slow, fast };
struct Relay {
  std::string name;
  IpPort address;
};
struct Proxy {
  uint16_t port = 80;
  Duration idle = std::chrono::seconds(90);
  Bytes buffer{64 << 10};
};
struct Demo {
  bool enabled = true;
  std::string title = "a";
  Mode mode = Mode::slow;
  std::optional<IpAddr> ip;
  std::vector<Cidr> cidrs = {*Cidr::parse("100.64.0.0/10")};
  Proxy proxy;
  std::vector<Relay> relays;
};

Schema<Demo> demo_schema() {
  return Schema<Demo>("Demo")
      .field("enabled", &Demo::enabled, "whether it runs")
      .field("title", &Demo::title, "a name", {.non_empty = true})
      .choice("mode", &Demo::mode, {{"Slow", Mode::slow}, {"Fast", Mode::fast}}, "how fast")
      .field("ip", &Demo::ip, "an address")
      .field("cidrs", &Demo::cidrs, "prefixes")
      .group("proxy", &Demo::proxy,
             Schema<Proxy>("The proxy")
                 .field("port", &Proxy::port, "where it listens", {.min = 1, .max = 65535})
                 .field("idleTimeout", &Proxy::idle, "silence allowed", {.min = 1'000'000'000})
                 .field("buffer", &Proxy::buffer, "bytes per connection", {.max = 1 << 20}))
      .list("relays", &Demo::relays,
            Schema<Relay>("Relays").field("name", &Relay::name, "its node").required().field("address", &Relay::address, "where"));
}

Result<Demo> parse(std::string_view text) {
  auto v = parse_yaml(text, "c.yaml");
  if (!v) return tl::unexpected(v.error());
  return demo_schema().parse(*v, "c.yaml");
}
std::string error_of(std::string_view text) {
  auto r = parse(text);
  return r ? "no error" : r.error().what;
}

TEST(Schema, ReadsEveryTypeAndKeepsDefaults) {
  auto d = parse("enabled: no\nmode: Fast\nip: fd00::1\ncidrs: [10.0.0.0/8, 'fd00::/64']\nproxy:\n  idleTimeout: 1m30s\n  buffer: 8KiB\n"
                 "relays:\n- {name: r1, address: '192.0.2.1:3478'}\n");
  ASSERT_TRUE(d) << d.error().what;
  EXPECT_FALSE(d->enabled);
  EXPECT_EQ(d->mode, Mode::fast);
  EXPECT_EQ(d->ip->str(), "fd00::1");
  EXPECT_EQ(d->cidrs.size(), 2u);
  EXPECT_EQ(d->proxy.port, 80);
  EXPECT_EQ(d->proxy.idle, std::chrono::seconds(90));
  EXPECT_EQ(d->proxy.buffer.count, 8192u);
  EXPECT_EQ(d->relays[0].address.str(), "192.0.2.1:3478");
  EXPECT_EQ(parse("proxy:\n")->proxy.port, 80);
}

TEST(Schema, ErrorsNamePlacePathAndMend) {
  EXPECT_EQ(error_of("enabled: true\nproxi: {}\n"), "c.yaml:2:1: unknown key \"proxi\"; did you mean \"proxy\"?");
  EXPECT_EQ(error_of("proxy:\n  idleTimeOut: 5s\n"), "c.yaml:2:3: proxy: unknown key \"idleTimeOut\"; did you mean \"idleTimeout\"?");
  EXPECT_EQ(error_of("proxy:\n  port: 70000\n"), "c.yaml:2:9: proxy.port: 70000 is out of range (1 to 65535)");
  EXPECT_EQ(error_of("proxy:\n  port: \"80\"\n"), "c.yaml:2:9: proxy.port: needs an integer, not the string \"80\"");
  EXPECT_EQ(error_of("proxy: {idleTimeout: 10ms}"), "c.yaml:1:22: proxy.idleTimeout: 10ms is out of range (at least 1s)");
  EXPECT_EQ(error_of("proxy: {buffer: 2MiB}"), "c.yaml:1:17: proxy.buffer: 2MiB is out of range (at most 1MiB)");
  EXPECT_EQ(error_of("mode: Fest"), "c.yaml:1:7: mode: \"Fest\" is not one of Slow, Fast; did you mean \"Fast\"?");
  EXPECT_EQ(error_of("cidrs: [10.0.0.300/8]"), "c.yaml:1:9: cidrs[0]: \"10.0.0.300/8\" is not a prefix such as \"10.96.0.0/12\"");
  EXPECT_EQ(error_of("relays:\n- name: a\n- address: 1.2.3.4:5\n"), "c.yaml:3:3: relays[1]: \"name\" is missing: its node");
  EXPECT_EQ(error_of("title: ''"), "c.yaml:1:8: title: must not be empty");
  EXPECT_EQ(error_of("[]"), "c.yaml:1:1: needs a map, not a list");
}

TEST(Schema, DurationsAndSizes) {
  EXPECT_EQ(parse_duration("1h2m3s4ms"), std::chrono::milliseconds(3723004));
  EXPECT_EQ(to_text(std::chrono::milliseconds(90500)), "1m30s500ms");
  for (const char* bad : {"", "5", "s", "-5s", "5 s", "5sec", "99999999999999999h"}) EXPECT_FALSE(parse_duration(bad)) << bad;
  EXPECT_EQ(parse_bytes("64KiB")->count, 65536u);
  EXPECT_EQ(to_text(Bytes{65536}), "64KiB");
  for (const char* bad : {"", "KiB", "-1", "1KB", "9999999999999GiB"}) EXPECT_FALSE(parse_bytes(bad)) << bad;
}

TEST(Schema, TheDefaultFileParsesToTheDefaults) {
  const std::string text = default_file(*demo_schema().table());
  auto d = parse(text);
  ASSERT_TRUE(d) << d.error().what << "\n" << text;
  EXPECT_EQ(d->cidrs, Demo().cidrs);
  EXPECT_EQ(d->proxy.idle, Demo().proxy.idle);
  EXPECT_NE(text.find("  # where it listens (integer, 1 to 65535)\n  port: 80\n"), std::string::npos) << text;
}

TEST(Schema, ReferenceAndJsonSchemaShowEveryKey) {
  const std::string md = markdown_reference(*demo_schema().table());
  EXPECT_NE(md.find("## proxy\n"), std::string::npos);
  EXPECT_NE(md.find("| `idleTimeout` | duration, at least 1s | `1m30s` | silence allowed |"), std::string::npos) << md;
  EXPECT_NE(md.find("## relays[]\n"), std::string::npos);
  auto json = parse_yaml(json_schema(*demo_schema().table(), "Demo"), "schema.json");
  ASSERT_TRUE(json) << json.error().what;
  const Value* port = json->find("properties")->find("proxy")->find("properties")->find("port");
  EXPECT_EQ(*port->find("maximum")->integer(), 65535);
  EXPECT_EQ(*json->find("properties")->find("relays")->find("type")->text(), "array");
}

}  // namespace
}  // namespace base::conf
