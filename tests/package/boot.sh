# Makes a Debian system from a directory that stays as it is, and becomes its first process.
#
#   boot.sh BASE ROOT init|bare
#
# To be run in mount and network namespaces of its own. `init` is systemd; `bare` has none.
set -e
base=$1 root=$2 kind=$3

# What is written goes to memory.
mount -t tmpfs tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/merged"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$root/upper,workdir=$root/work" "$root/merged"
system=$root/merged

# A control group of its own in both hierarchies that systemd 252 uses.
for hierarchy in "cgroup2 unified" "cgroup systemd none,name=systemd"; do
    read -r type name options <<<"$hierarchy"
    mkdir "$root/$name"
    mount -t "$type" ${options:+-o "$options"} "$type" "$root/$name"
    mkdir "$root/$name/tcpffee-test-$$"
    echo $$ >"$root/$name/tcpffee-test-$$/cgroup.procs"
done
export system kind

exec unshare --pid --fork --kill-child --mount --uts --ipc --cgroup bash -ec '
    mount -t proc proc "$system/proc"
    mount -t sysfs -o ro sysfs "$system/sys"
    mount -t tmpfs -o mode=755 tmpfs "$system/sys/fs/cgroup"
    mkdir "$system/sys/fs/cgroup/unified" "$system/sys/fs/cgroup/systemd"
    mount -t cgroup2 cgroup2 "$system/sys/fs/cgroup/unified"
    mount -t cgroup -o none,name=systemd cgroup "$system/sys/fs/cgroup/systemd"
    mount -t tmpfs -o mode=755 tmpfs "$system/run"
    mount -t tmpfs -o mode=1777 tmpfs "$system/tmp"
    mount -t tmpfs -o mode=755 tmpfs "$system/dev"
    for device in null zero full random urandom tty; do
        touch "$system/dev/$device"
        mount --bind "/dev/$device" "$system/dev/$device"
    done
    mkdir "$system/dev/pts" "$system/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$system/dev/pts"
    ln -s pts/ptmx "$system/dev/ptmx"

    if [[ $kind == bare ]]; then
        exec chroot "$system" sleep infinity
    fi
    export container=tcpffee-test
    exec chroot "$system" /lib/systemd/systemd --unit=multi-user.target --show-status=0
'
