import { cluster } from "../data/cluster.ts"
import { devices, view } from "../data/node.ts"
import { language, messages } from "../i18n/index.ts"
import { isPart, unsure } from "../lib/devices.ts"
import { decimal } from "../lib/format.ts"
import { visible } from "../lib/text.ts"
import { about, isCluster, period, route } from "../state.ts"
import type { ClusterUser, Figures, Part, Usage } from "../types.ts"
import { asCount, asDecimal, asGib, Figure, Meter, Note, OldAnswer, Panel, Warnings } from "./common.tsx"
import { FiguresPanel, PastPanel } from "./device.tsx"
import { useAsked } from "./hooks.ts"
import { useNodePast } from "./past.ts"
import { SessionTable } from "./sessions.tsx"
import { useNodeUsage, usersNow } from "./users.tsx"

/** A user: now, in the period, and where. An empty name is for sessions of nobody that is known. */
export function UserPage() {
  const m = messages.value
  const user = route.value.params.user ?? ""
  return (
    <div class="page" key={user}>
      <h1 class="page-title"><span class="muted">{m.user}</span> {user === "" ? m.noUser : visible(user)}</h1>
      {isCluster.value ? <ClusterUserPage user={user} /> : <NodeUserPage user={user} />}
      <Panel title={m.sessionsNow} class="table-panel"><SessionTable params={{ ...route.value.params, user }} within="user" /></Panel>
    </div>
  )
}

/** `least`: not all devices are known, so that what is not seen is not nothing. */
function NowFigures({ user, least }: { user: ClusterUser | null; least: boolean }) {
  const m = messages.value
  const none = least ? null : 0
  return (
    <>
      <Figure name={m.sessionsNow}>{asCount(user ? user.sessions : none, least)}</Figure>
      <Figure name={m.devicesNow}>{asCount(user ? user.devices : none, least)}</Figure>
      {isCluster.value && <Figure name={m.nodesNow}>{asCount(user ? user.nodes : none, least)}</Figure>}
      <Figure name={m.memoryNow}>{asGib(user ? user.memory_used_bytes : none, least)}</Figure>
    </>
  )
}

function UsedFigures({ used }: { used: Usage }) {
  const m = messages.value
  return (
    <>
      <Figure name={m.gpuHours} title={m.gpuHoursTitle}>{asDecimal(used.session_hours)}</Figure>
      <Figure name={m.allocatedHours} title={m.allocatedHoursTitle}>{asDecimal(used.allocated_hours)}</Figure>
      <Figure name={m.idleHours} title={m.idleHoursTitle}>{asDecimal(used.idle_allocated_hours)}</Figure>
      <Figure name={m.smHours} title={m.smHoursTitle}>{asDecimal(used.sm_hours)}</Figure>
      <Figure name={m.meanUse} title={m.meanUseTitle}><Meter ratio={used.mean_utilization} /></Figure>
      <Figure name={m.memoryHours} title={m.memoryHoursTitle}>{asDecimal(used.memory_gib_hours)}</Figure>
      <Figure name={m.kwh} title={m.kwhTitle}>{asDecimal(used.energy_kwh)}</Figure>
    </>
  )
}

function NodeUserPage({ user }: { user: string }) {
  const m = messages.value
  const name = user === "" ? null : user
  const now = usersNow(devices.value, view.value?.sessions.values() ?? []).get(name) ?? null
  const usage = useNodeUsage(user)
  const used = usage.value?.users.find((one) => one.user === name) ?? null
  const past = useNodePast({ user }, (session) => session.user === name)
  return (
    <>
      <Panel title={m.now}><dl class="figures"><NowFigures user={now} least={unsure(view.value, devices.value)} /></dl></Panel>
      {about.value?.history && (
        <Panel title={m.ofPeriod}>
          {usage.failure !== null && <Note kind="bad">{usage.failure}</Note>}
          {used ? <dl class="figures"><UsedFigures used={used} /></dl> : <p class="empty">{usage.pending ? m.loading : m.nothing}</p>}
        </Panel>
      )}
      <PastPanel past={past} title={m.whereWhen} by="gpu" />
    </>
  )
}

function ClusterUserPage({ user }: { user: string }) {
  const m = messages.value
  const asked = useAsked<Part & { users: ClusterUser[] }>("cluster/users", { user, ...period.value })
  const figures = useAsked<Figures>("cluster/user", { user, ...period.value })
  const found = asked.value?.users[0] ?? null
  const series = [
    { figure: "gpus_busy", name: m.gpusBusy, color: "chart-1" },
    { figure: "gpus_held", name: m.gpusHeld, color: "chart-2" },
    { figure: "gpus_held_idle", name: m.gpusHeldIdle, color: "chart-3" },
    { figure: "sessions", name: m.sessions, color: "chart-4" },
  ]
  return (
    <>
      <Panel title={m.now}>
        <OldAnswer asked={asked} />
        {asked.value ? <dl class="figures"><NowFigures user={found} least={isPart(cluster.value)} /></dl> : asked.failure === null && <p class="empty">{m.loading}</p>}
      </Panel>
      {asked.value && <Panel title={m.ofPeriod}><Warnings warnings={asked.value.warnings} />{found?.used ? <dl class="figures"><UsedFigures used={found.used} /></dl> : <p class="empty">{m.nothing}</p>}</Panel>}
      <FiguresPanel title={m.history} asked={figures} series={series} write={(value) => decimal(language.value, value)} />
    </>
  )
}
