#include "base/conf/yaml.h"

#include <gtest/gtest.h>

#include "base/conf/json.h"
#include "base/core/limits.h"

namespace base::conf {
namespace {

Value must(std::string_view text) {
  auto v = parse_yaml(text, "t.yaml");
  EXPECT_TRUE(v) << (v ? "" : v.error().what);
  return v ? *v : Value();
}
std::string error_of(std::string_view text) {
  auto v = parse_yaml(text, "t.yaml");
  return v ? "no error" : v.error().what;
}
std::vector<Value> documents(std::string_view text) {
  std::vector<Value> out;
  auto r = parse_yaml_stream(text, "t.yaml", [&](Value&& v) -> Result<void> { return out.push_back(std::move(v)), Result<void>{}; });
  EXPECT_TRUE(r) << (r ? "" : r.error().what);
  return out;
}

TEST(Yaml, PlainScalarsAreTypedAsKubectlDoes) {
  const Value v = must("a: yes\nb: off\nc: 0755\nd: 0x1F\ne: 1_000\nf: 1.5\ng: ~\nh: 1.2.3\ni: -7\nj: 10.0.0.1\nk: 0o17\nl: y\nm: inf\n");
  EXPECT_EQ(*v.find("a")->boolean(), true);
  EXPECT_EQ(*v.find("b")->boolean(), false);
  EXPECT_EQ(*v.find("c")->integer(), 493);
  EXPECT_EQ(*v.find("d")->integer(), 31);
  EXPECT_EQ(*v.find("e")->integer(), 1000);
  EXPECT_EQ(*v.find("f")->number(), 1.5);
  EXPECT_TRUE(v.find("g")->is_null());
  EXPECT_EQ(*v.find("h")->text(), "1.2.3");
  EXPECT_EQ(*v.find("i")->integer(), -7);
  EXPECT_EQ(*v.find("j")->text(), "10.0.0.1");
  EXPECT_EQ(*v.find("k")->integer(), 15);
  EXPECT_EQ(*v.find("l")->text(), "y");
  EXPECT_EQ(*v.find("m")->text(), "inf");
}

TEST(Yaml, QuotedAndTaggedScalarsStayStrings) {
  const Value v = must("a: \"yes\"\nb: '0755'\nc: !!str 12\nd: |\n  8080\ne: \"\"\nf: \"~\"\n");
  EXPECT_EQ(*v.find("a")->text(), "yes");
  EXPECT_EQ(*v.find("b")->text(), "0755");
  EXPECT_EQ(*v.find("c")->text(), "12");
  EXPECT_EQ(*v.find("d")->text(), "8080\n");
  EXPECT_EQ(*v.find("e")->text(), "");
  EXPECT_EQ(*v.find("f")->text(), "~");
}

TEST(Yaml, EveryNodeKnowsItsPlaceAndMapsKeepTheirOrder) {
  const Value v = must("z: 1\na:\n  - x\n  - port: 80\n");
  EXPECT_EQ((*v.map())[0].key, "z");
  EXPECT_EQ((*v.map())[1].key, "a");
  EXPECT_EQ(v.find("z")->mark, (Mark{1, 4}));
  EXPECT_EQ((*v.find("a")->list())[1].find("port")->mark, (Mark{4, 11}));
}

TEST(Yaml, DocumentsAreHandedOverOneByOne) {
  const auto docs = documents("a: 1\n---\n---\nb: 2\n---\n# nothing\n");
  ASSERT_EQ(docs.size(), 2u);
  EXPECT_EQ(*docs[1].find("b")->integer(), 2);
  size_t seen = 0;  // the ones before a broken document were complete
  auto r = parse_yaml_stream("a: 1\n---\nb: [1\n---\nc: 3\n", "t.yaml", [&](Value&&) -> Result<void> { return ++seen, Result<void>{}; });
  EXPECT_FALSE(r);
  EXPECT_EQ(seen, 1u);
}

TEST(Yaml, ErrorsNameThePlace) {
  EXPECT_EQ(error_of("a: 1\nb: [1, 2\nc: 3\n").substr(0, 9), "t.yaml:3:");
  EXPECT_EQ(error_of("a: 1\nb: 2\na: 3\n"), "t.yaml:3:1: key \"a\" is here twice");
  EXPECT_EQ(error_of("a: 1\n? [x]\n: 2\n").substr(0, 9), "t.yaml:2:");
  EXPECT_EQ(error_of("a: 1\nb: \x04\n"), "t.yaml:2:4: control character 0x04: this is not YAML text");
  EXPECT_EQ(error_of("a: 1\n---\nb: 2\n").substr(0, 9), "t.yaml:3:");
}

TEST(Yaml, AliasesAndMergeKeysExpand) {
  const Value v = must("base: &b {x: 1, y: 2}\nmine:\n  <<: *b\n  y: 3\nagain: *b\n");
  EXPECT_EQ(*v.find("mine")->find("x")->integer(), 1);
  EXPECT_EQ(*v.find("mine")->find("y")->integer(), 3);
  EXPECT_EQ(v.find("mine")->map()->size(), 2u);
  EXPECT_EQ(*v.find("again")->find("y")->integer(), 2);
}

TEST(Yaml, BombsAreBounded) {
  std::string laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 9; ++i) {
    laughs += fmt::format("a{}: &a{} [", i, i);
    for (int j = 0; j < 10; ++j) laughs += fmt::format("{}*a{}", j ? "," : "", i - 1);
    laughs += "]\n";
  }
  EXPECT_NE(error_of(laughs).find("aliases expand"), std::string::npos);
  EXPECT_NE(error_of("x: " + std::string(100, '[') + std::string(100, ']')).find("nested deeper"), std::string::npos);
  EXPECT_FALSE(parse_yaml(std::string(200'000, '['), "t.yaml"));
  EXPECT_FALSE(parse_yaml(std::string(limits::kManifestBytesMax + 1, ' '), "t.yaml"));
}

TEST(Json, IsReadWithSurrogatesAndTabs) {
  const Value v = must("{\n\t\"name\": \"a\\u00e9\\uD83D\\uDE00\\/\",\n\t\"n\": [1, -2.5, true, null, \"yes\"]\n}\n");
  EXPECT_EQ(*v.find("name")->text(), "a\xC3\xA9\xF0\x9F\x98\x80/");
  EXPECT_EQ(v.find("n")->list()->size(), 5u);
  EXPECT_EQ(*(*v.find("n")->list())[4].text(), "yes");
  EXPECT_EQ(v.find("n")->mark, (Mark{3, 7}));
  EXPECT_EQ(documents("{\"a\":1}\n{\"a\":2}").size(), 2u);
}

TEST(Json, FlowStyleYamlIsStillYaml) {
  EXPECT_EQ(*must("{a: 1, b: [x, y]}").find("a")->integer(), 1);
  EXPECT_FALSE(parse_json_stream("{\"a\":1,\"a\":2}", "t.json", [](Value&&) -> Result<void> { return {}; }));
}

}  // namespace
}  // namespace base::conf
