# The day of the build (SOURCE_DATE_EPOCH where it is set): a day, so that not every configuration compiles anew.
string(TIMESTAMP now "%s" UTC)
math(EXPR EDGEMESH_BUILD_DAY "${now} / 86400 * 86400")
