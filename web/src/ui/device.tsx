import { devices, tracks, view } from "../data/node.ts"
import { language, messages } from "../i18n/index.ts"
import { indexOf } from "../lib/devices.ts"
import { decimal, duration, percent } from "../lib/format.ts"
import { visible } from "../lib/text.ts"
import { isCluster, period, route } from "../state.ts"
import type { Device, Figures } from "../types.ts"
import { asGib, asPercent, DeviceLink, Figure, Link, Meter, Name, Note, OldAnswer, Panel, shown, Warnings } from "./common.tsx"
import { Chart } from "./chart.tsx"
import { useAsked } from "./hooks.ts"
import { useNode } from "./overview.tsx"
import { useClusterPast, useNodePast, type Past } from "./past.ts"
import { SessionTable } from "./sessions.tsx"
import { usersOf } from "./tile.tsx"
import { TimelineChart } from "./timeline.tsx"

/** A device: a MIG instance, a GPU, or a GPU with its instances. */
export function DevicePage() {
  const { node, gpu = "0" } = route.value.params
  return isCluster.value ? <ClusterDevice node={node ?? ""} gpu={gpu} key={`${node} ${gpu}`} /> : <NodeDevice gpu={gpu} key={gpu} />
}

const isOf = (gpu: string) => (label: string) => label === gpu || indexOf(label) === gpu

function Head({ node, gpu }: { node?: string; gpu: string }) {
  const m = messages.value
  return (
    <h1 class="page-title">
      {node !== undefined && <><Link view="sessions" params={{ node }} title={m.toNode(visible(node))}>{visible(node)}</Link> <span class="muted">/</span> </>}
      GPU {visible(gpu)}
    </h1>
  )
}

function Facts({ device, brief }: { device: Device; brief: boolean }) {
  const m = messages.value
  const total = device.memory_total_bytes
  const ratio = total && device.memory_used_bytes !== null ? device.memory_used_bytes / total : null
  const energy = (joules: number) => `${decimal(language.value, joules / 3.6e6)} kWh`
  return (
    <dl class="figures">
      {device.mig_profile !== null && <Figure name={m.profile}>{brief ? <DeviceLink node={route.value.params.node} gpu={device.gpu} note={device.mig_profile} /> : <Name value={device.mig_profile} />}</Figure>}
      <Figure name={m.utilization}><Meter ratio={device.utilization_ratio} /></Figure>
      <Figure name={m.memory}><Meter ratio={ratio} kind="memory" /> <span class="amount">{asGib(device.memory_used_bytes)} / {asGib(total)}</span></Figure>
      <Figure name={m.sessions}>{shown(device.sessions, String)}</Figure>
      <Figure name={m.users}><span class="name" title={usersOf(device, m)}>{device.users === null ? "–" : usersOf(device, m) || "0"}</span></Figure>
      <Figure name={m.heldBy}>{shown(device.allocations, m.containers)}{device.held_idle ? <span class="badge warn" title={m.heldIdleTitle}>{device.held_idle} {m.heldIdle}</span> : null}</Figure>
      {device.energy_joules !== null && <Figure name={m.energy}>{energy(device.energy_joules)}</Figure>}
      {device.mig_profile !== null && <Figure name={m.share}>{asPercent(device.compute_fraction)}</Figure>}
      {!brief && (
        <>
          <Figure name={m.model}><Name value={device.model} /></Figure>
          <Figure name={m.bus}><Name value={device.pci_bus_id} /></Figure>
          <Figure name={m.uuid}><Name value={device.uuid} /></Figure>
        </>
      )}
    </dl>
  )
}

function DevicePanel({ found, waiting }: { found: Device[]; waiting: boolean }) {
  const m = messages.value
  return (
    <Panel title={m.now}>
      {found.map((device) => <Facts key={device.uuid} device={device} brief={found.length > 1} />)}
      {found.length === 0 && <p class="empty">{waiting ? m.loading : m.notMeasured}</p>}
    </Panel>
  )
}

export function PastPanel({ past, title, by }: { past: Past; title: string; by: "user" | "gpu" }) {
  const m = messages.value
  const { resolution, missing, unkept, warnings } = past.notes
  const notes = [
    ...(resolution === null ? [] : [m.resolution(duration(m.units, resolution))]),
    ...(missing === null ? [] : [missing === "oldest" ? m.oldestMissing : m.truncated]),
    ...(unkept ? [m.noPast] : []),
  ]
  return (
    <Panel title={title}>
      {past.failure !== null && <Note kind="bad">{visible(past.failure)}</Note>}
      <Warnings warnings={warnings} />
      {past.pending && past.spans.length === 0 ? <p class="empty">{m.loading}</p> : <TimelineChart spans={past.spans} since={past.since} until={past.until} by={by} notes={notes} />}
    </Panel>
  )
}

function NodeDevice({ gpu }: { gpu: string }) {
  const m = messages.value
  const found = devices.value.filter((device) => isOf(gpu)(device.gpu))
  const past = useNodePast({ gpu }, (session) => isOf(gpu)(session.gpu))
  return (
    <div class="page">
      <Head gpu={gpu} />
      <DevicePanel found={found} waiting={view.value === null} />
      <PastPanel past={past} title={m.whoWhen} by="user" />
      <Panel title={m.utilization} aside={<span class="muted">{m.sinceOpened}</span>}>
        {found.map((device) => <LiveChart key={device.uuid} device={device} many={found.length > 1} />)}
      </Panel>
      <Panel title={m.sessionsNow} class="table-panel"><SessionTable params={{ ...route.value.params, gpu }} within="device" /></Panel>
    </div>
  )
}

function LiveChart({ device, many }: { device: Device; many: boolean }) {
  const m = messages.value
  const track = tracks.value.get(device.uuid)
  if (!track || track.times.length < 2) return <p class="empty">{m.oneSample}</p>
  const prefix = many ? `${device.gpu} ` : ""
  const series = [
    { name: `${prefix}${m.utilization}`, values: track.utilization, color: "chart-1" },
    { name: `${prefix}${m.memory}`, values: track.memory, color: "chart-2" },
  ]
  return <Chart label={m.utilization} times={track.times} series={series} write={(value) => percent(language.value, value)} height={many ? 110 : 170} />
}

function ClusterDevice({ node, gpu }: { node: string; gpu: string }) {
  const m = messages.value
  const asked = useNode(node)
  const found = (asked.node?.devices ?? []).filter((device) => isOf(gpu)(device.gpu))
  const past = useClusterPast(node, gpu)
  return (
    <div class="page">
      <Head node={node} gpu={gpu} />
      {asked.node?.old && <Note kind="bad">{m.oldTitle}</Note>}
      <OldAnswer asked={asked} />
      <DevicePanel found={found} waiting={asked.pending} />
      <PastPanel past={past} title={m.whoWhen} by="user" />
      <DeviceFigures node={node} gpu={gpu} />
      <Panel title={m.sessionsNow} class="table-panel"><SessionTable params={{ ...route.value.params, node, gpu }} within="device" /></Panel>
    </div>
  )
}

function DeviceFigures({ node, gpu }: { node: string; gpu: string }) {
  const m = messages.value
  const asked = useAsked<Figures>("cluster/device", { node, gpu, ...period.value })
  const series = [
    { figure: "utilization_ratio", name: m.utilization, color: "chart-1" },
    { figure: "memory_used_ratio", name: m.memory, color: "chart-2" },
  ]
  return <FiguresPanel title={m.utilization} asked={asked} series={series} write={(value) => percent(language.value, value)} />
}

/** Figures over time, of those that there are. */
export function FiguresPanel({ title, asked, series, write }: {
  title: string
  asked: { value: Figures | null; failure: string | null; pending: boolean }
  series: { figure: string; name: string; color: string }[]
  write: (value: number) => string
}) {
  const m = messages.value
  const drawn = series.flatMap(({ figure, name, color }) => {
    const found = asked.value?.series.find((one) => one.figure === figure)
    return found ? [{ name, color, values: found.values }] : []
  })
  return (
    <Panel title={title}>
      {asked.failure !== null && <Note kind="bad">{visible(asked.failure)}</Note>}
      <Warnings warnings={asked.value?.warnings} />
      {asked.value && drawn.length > 0 ? <Chart label={title} times={asked.value.times} series={drawn} write={write} /> : asked.failure === null && <p class="empty">{asked.pending ? m.loading : m.nothing}</p>}
    </Panel>
  )
}
