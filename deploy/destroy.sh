# shellcheck shell=bash disable=SC2154 # The names are those of deploy_astrago.sh.
# Part of deploy_astrago.sh: what removes.

destroy_all() {
    local name space ours_first
    # What needs the others goes before them.
    ours_first=$(grep "^$monitoring " <<<"$chosen" || true; grep -v "^$monitoring " <<<"$chosen" || true)
    while read -r name space; do
        destroy_release "$name" "$space" </dev/null
    done <<<"$ours_first"
    while read -r space; do
        destroy_namespace "$space" </dev/null
    done < <(awk '{ print $2 }' <<<"$chosen" | sort -u)
}

destroy_release() {
    local name=$1 space=$2
    if ! installed "$name" "$space"; then
        say "$name is not installed"
        return
    fi
    say "removing $name"
    if [[ $name == "$monitoring" ]]; then
        destroy_monitoring
        return
    fi
    helm uninstall "$name" --namespace "$space" --wait --timeout "$timeout"
    [[ $name != kube-prometheus-stack ]] ||
        kubectl delete secret "$grafana_secret" --namespace "$space" --ignore-not-found >/dev/null
    echo "left: custom resource definitions, and what operators of $name made elsewhere, such as in kube-system"
}

destroy_monitoring() {
    local before agents hooks
    agents=$(kubectl get daemonsets --namespace "$namespace" --selector "app.kubernetes.io/name=$monitoring" --output name)
    before=$(helm list --namespace "$namespace" --filter "^$monitoring\$" --output json | sed -n 's/.*"revision":"\([0-9]*\)".*/\1/p')
    if [[ -n $force ]]; then
        helm uninstall "$monitoring" --namespace "$namespace" --no-hooks --wait --timeout "$timeout"
    else
        all_ready
        count_nodes_anew
        set_purge
        # Whole first: a reader that has read enough would end helm by a signal, and look like a hook that is not there.
        hooks=$(helm get hooks "$monitoring" --namespace "$namespace")
        if [[ $hooks != *"name: $removal_job"* ]]; then
            warn "no node has the label of GPU nodes, or removal.enabled is false: what lies on the nodes stays there"
            purge='' force=yes
        else
            say "removing the metrics from every GPU node"
        fi
        helm uninstall "$monitoring" --namespace "$namespace" --wait --timeout "$timeout" || not_cleaned "$before"
    fi
    # Helm leaves what its hooks made.
    kubectl delete jobs --namespace "$namespace" --selector "app.kubernetes.io/instance=$monitoring" --ignore-not-found >/dev/null
    forget_purge
    if [[ -n $force && -z $agents ]]; then
        echo "left on the nodes: gpu_sessions.prom in the textfile folder, which node-exporter goes on serving, and the counters"
    elif [[ -z $purge ]]; then
        echo "left on the nodes: counters and ledger (state.hostPath, /var/lib/gpu-session-monitor); destroy with --purge removes them"
    fi
}

# A node that is down would keep its files, and nobody would say so.
all_ready() {
    local nodes down
    nodes=$(gpu_nodes) || die "the GPU nodes cannot be listed; the cause is above"
    down=$(awk 'NF && $2 != "True" { print $1 }' <<<"$nodes" | xargs)
    [[ -z $down ]] ||
        die "these GPU nodes are not ready, and cannot be cleaned: $down; mend them, take them out (kubectl delete node), or run destroy with --force and remove gpu_sessions.prom on all nodes by hand"
}

# Nodes may have come since the last sync; and no new sample is to begin.
count_nodes_anew() {
    local upgrade=(helm upgrade "$monitoring" "$root/charts/$monitoring" --namespace "$namespace" --reuse-values --no-hooks --set collection.suspend=true)
    # Helm 4 would leave alone what somebody changed by hand, and refuses the flag for what Helm 3 installed.
    "${upgrade[@]}" --force-conflicts >/dev/null 2>&1 || "${upgrade[@]}" >/dev/null ||
        warn "the nodes could not be counted anew; those that came since the last sync may keep gpu_sessions.prom"
}

# Whether counters and ledger go too. One that somebody left would make them.
set_purge() {
    forget_purge
    [[ -n $purge ]] || return 0
    trap 'forget_purge; rm -rf "$work"' EXIT
    kubectl create configmap "$purge_map" --namespace "$namespace" --from-literal=purge=true >/dev/null
}

forget_purge() { kubectl delete configmap "$purge_map" --namespace "$namespace" --ignore-not-found >/dev/null; }

# After an uninstallation that failed: what is still there measures again, as in the revision before.
not_cleaned() {
    kubectl get pods --namespace "$namespace" --output wide --selector "app.kubernetes.io/instance=$monitoring" >&2 || true
    kubectl delete job "$removal_job" --namespace "$namespace" --ignore-not-found >/dev/null
    local remedy="see the pods above, and remove gpu_sessions.prom on the nodes by hand"
    if installed "$monitoring" "$namespace"; then
        helm rollback "$monitoring" "$1" --namespace "$namespace" --no-hooks >/dev/null ||
            warn "$monitoring is not as it was before; run: ./deploy_astrago.sh sync $monitoring"
        die "some nodes could not be cleaned, and $monitoring is still there; $remedy after destroy with --force"
    fi
    # With agents the nodes are cleaned last.
    die "$monitoring is removed, and some nodes could not be cleaned; $remedy"
}

# Removes a namespace that sync made, if nothing of others is in it.
destroy_namespace() {
    local name=$1 made kinds left
    made=$(kubectl get namespaces --selector "$made_by" --field-selector "metadata.name=$name" --output name)
    [[ -n $made ]] || return 0
    kinds=$(kubectl api-resources --namespaced --verbs=list --output name | grep -v '^events' | paste -sd ,)
    left=$(kubectl get "$kinds" --namespace "$name" --ignore-not-found --output name 2>/dev/null |
        grep -v -x -E 'configmap/kube-root-ca.crt|serviceaccount/default|podmetrics.*' || true)
    if [[ -n $left ]]; then
        echo "left: namespace $name, which holds $(head -n 5 <<<"$left" | xargs)"
        return
    fi
    say "removing namespace $name"
    kubectl delete namespace "$name" --timeout="$timeout" ||
        warn "namespace $name is not gone yet; see: kubectl get namespace $name -o yaml"
}
