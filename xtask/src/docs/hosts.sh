# The hosts of a page: each a network of its own with its name and its address, all on one switch. Each has a folder for its user.
declare -A HOST=()
SWITCH=

namespace() {
    unshare --net --uts sleep infinity &
    pid=$!
    until [ "$(readlink "/proc/$pid/ns/uts")" != "$(readlink /proc/self/ns/uts)" ]; do sleep 0.01; done
}

within() {
    local pid=$1
    shift
    nsenter --target "$pid" --net --uts "$@"
}

make_hosts() {
    namespace
    SWITCH=$pid
    within "$SWITCH" sh -ec 'ip link add switch type bridge; ip link set switch up'
    local pair name number=0
    for pair in "$@"; do
        name=${pair%%=*}
        number=$((number + 1))
        namespace
        HOST[$name]=$pid
        within "$SWITCH" ip link add "port$number" type veth peer name net netns "$pid"
        within "$SWITCH" ip link set "port$number" master switch up
        within "$pid" sh -ec "hostname $name; ip address add ${pair#*=}/24 dev net; ip link set net up; ip link set lo up"
        mkdir -p "$PLACE/hosts/$name"
    done
}

# Does what is read, as the user of a host.
on() {
    local home="$PLACE/hosts/$1"
    within "${HOST[$1]}" env -u XDG_CONFIG_HOME -C "$home" HOME="$home" BASH_ENV="$home/.profile" bash -eu
}

# Ends whatever runs on the hosts.
end_hosts() {
    local pid process network
    for pid in "${HOST[@]}"; do
        network=$(readlink "/proc/$pid/ns/net") || continue
        for process in /proc/[0-9]*; do
            if [ "$(readlink "$process/ns/net" 2> /dev/null)" = "$network" ]; then
                kill "${process#/proc/}" 2> /dev/null || true
            fi
        done
    done
}
