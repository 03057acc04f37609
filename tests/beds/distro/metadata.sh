# shellcheck shell=bash
# metadata.sh: what make.sh writes into a tree beside packages. Uses V and SOURCE_DATE_EPOCH.

# comps GROUP:PACKAGE,PACKAGE...: groups, and an environment that has the first and offers `standard`. +PACKAGE is optional.
comps() {
  local group package
  printf '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">\n<comps>\n'
  for group; do
    printf ' <group><id>%s</id><name>%s</name><name xml:lang="de">Gruppe</name><description/>' "${group%%:*}" "${group%%:*}"
    printf '<default>true</default><uservisible>true</uservisible><packagelist>\n'
    for package in $(tr , ' ' <<<"${group#*:}"); do
      case $package in
        +*) printf '  <packagereq type="optional">%s</packagereq>\n' "${package#+}";;
        *) printf '  <packagereq type="mandatory">%s</packagereq>\n' "$package";;
      esac
    done
    printf ' </packagelist></group>\n'
  done
  printf ' <environment><id>minimal-environment</id><name>Minimal Install</name><description/><display_order>3</display_order>\n'
  printf '  <grouplist><groupid>core</groupid></grouplist><optionlist><groupid>standard</groupid></optionlist></environment>\n</comps>\n'
}

module_version() { echo "${1/./0}20240501000000"; }

# modules VERSION: two streams of webd; the first is the default.
modules() {
  local stream
  for stream in 1 2; do
    cat <<END
---
document: modulemd
version: 2
data:
  name: webd
  stream: "$stream"
  version: $(module_version "$1")
  context: c0ffee${stream}0
  arch: x86_64
  summary: webd $stream
  description: webd $stream
  license: {module: [MIT]}
  dependencies: [{requires: {platform: [el9]}}]
  profiles: {common: {rpms: [webd]}}
  artifacts: {rpms: ["webd-0:$stream.0-1.module_el9+${1#*.}+$stream.noarch"]}
...
END
  done
  printf -- '---\ndocument: modulemd-defaults\nversion: 1\ndata: {module: webd, stream: "1", profiles: {"1": [common]}}\n...\n'
}

# disc_info TREE
disc_info() {
  printf '%s.000000\nRocky Linux %s\nx86_64\n1\n' "$SOURCE_DATE_EPOCH" "$V" > "$1/.discinfo"
  printf '[InstallMedia]\nname=Rocky Linux %s\nmediaid=%s.000000\ngpgcheck=0\n' "$V" "$SOURCE_DATE_EPOCH" > "$1/media.repo"
}

# tree_info TREE VARIANT...
tree_info() (
  cd "$1" || exit
  shift
  local variant file all
  all=$(IFS=,; echo "$*")
  {
    printf '[header]\ntype = productmd.treeinfo\nversion = 1.2\n\n[release]\nname = Rocky Linux\nshort = Rocky\nversion = %s\n\n' "$V"
    printf '[tree]\narch = x86_64\nbuild_timestamp = %s\nplatforms = x86_64,xen\nvariants = %s\n\n' "$SOURCE_DATE_EPOCH" "$all"
    for variant; do
      printf '[variant-%s]\nid = %s\nname = %s\npackages = %s/Packages\nrepository = %s\ntype = variant\nuid = %s\n\n' \
        "$variant" "$variant" "$variant" "$variant" "$variant" "$variant"
    done
    printf '[general]\narch = x86_64\nfamily = Rocky Linux\nname = Rocky Linux %s\nplatforms = x86_64,xen\nrepository = %s\n' "$V" "$1"
    printf 'timestamp = %s\nvariant = %s\nvariants = %s\nversion = %s\n\n[checksums]\n' "$SOURCE_DATE_EPOCH" "$1" "$all" "$V"
    for file in images/efiboot.img images/pxeboot/vmlinuz */repodata/repomd.xml; do
      [ ! -e "$file" ] || printf '%s = sha256:%s\n' "$file" "$(sha256sum < "$file" | cut -c1-64)"
    done
  } > .treeinfo
)
