import { devices, tracks, view } from "../data/node.ts"
import { language, messages } from "../i18n/index.ts"
import { gpus, indexOf, stepOf, useOf, type Gpu } from "../lib/devices.ts"
import { percent } from "../lib/format.ts"
import { linkTo } from "../lib/route.ts"
import { matches, visible } from "../lib/text.ts"
import { route } from "../state.ts"
import type { Device } from "../types.ts"
import { asGib, Meter, Panel, Unknown, UserLink } from "./common.tsx"
import { SessionTable } from "./sessions.tsx"
import { Spark } from "./spark.tsx"
import { labelOf, Legend, linesOf, Spoken, uncutShare } from "./tile.tsx"
import { tipOf } from "./tooltip.tsx"

/** The GPUs of a node as cards. */
export function NodeOverview() {
  const m = messages.value
  const search = route.value.params.search ?? ""
  const found = devices.value.filter((device) => matches(search, namesOn(device)))
  const shown = gpus(devices.value).filter((gpu) => found.some((device) => indexOf(device.gpu) === gpu.index))
  if (!view.value) return <p class="empty" role="status">{m.loading}</p>
  return (
    <div class="overview page">
      <div class="overview-bar"><Legend /></div>
      <div class="gpu-cards" role="list">
        {shown.map((gpu) => <GpuCard key={gpu.index} gpu={gpu} />)}
      </div>
      {devices.value.length > 0 && <Panel title={m.sessions} class="table-panel"><SessionTable params={{ search }} within="all" /></Panel>}
      {shown.length === 0 && <p class="empty">{devices.value.length === 0 ? m.noDevices : m.nothingFound}</p>}
    </div>
  )
}

/** Names by which a device is found: its own, and those of who is on it. */
function namesOn(device: Device): (string | null)[] {
  const names: (string | null)[] = [device.gpu, device.uuid, device.model, device.mig_profile]
  for (const { user } of device.users ?? []) names.push(user)
  for (const session of view.value?.sessions.values() ?? []) {
    if (session.gpu === device.gpu) names.push(session.command, session.pod, session.namespace, session.place)
  }
  return names
}

function GpuCard({ gpu }: { gpu: Gpu }) {
  const model = gpu.whole?.model ?? gpu.instances[0]?.model ?? null
  const uncut = uncutShare(gpu)
  return (
    <div class="gpu-card" role="listitem">
      <div class="gpu-head">
        <a href={linkTo(route.value, "device", { gpu: gpu.index })}><b>GPU {gpu.index}</b></a>
        <span class="muted name" title={model ? visible(model) : ""}>{model ? visible(model) : <Unknown />}</span>
        {gpu.instances.length > 0 && <span class="badge">MIG</span>}
      </div>
      {gpu.whole && <Whole device={gpu.whole} />}
      {gpu.instances.length > 0 && (
        <div class="slices">
          {gpu.instances.map((device) => <Slice key={device.uuid} device={device} />)}
          {uncut > 0.01 && <span class="slice uncut" style={{ flexGrow: uncut }} />}
        </div>
      )}
    </div>
  )
}

function Whole({ device }: { device: Device }) {
  const m = messages.value
  const total = device.memory_total_bytes
  const ratio = total && device.memory_used_bytes !== null ? device.memory_used_bytes / total : null
  const track = tracks.value.get(device.uuid)
  return (
    <div class="whole">
      <Block device={device} class="whole-block" />
      <div class="whole-side">
        <div class="whole-line"><span class="muted">{m.memory}</span><Meter ratio={ratio} kind="memory" /><span class="amount">{asGib(device.memory_used_bytes)} / {asGib(total)}</span></div>
        <Who device={device} />
        {track && track.times.length > 1 && <Spark values={track.utilization} label={m.utilization} />}
      </div>
    </div>
  )
}

function Slice({ device }: { device: Device }) {
  return (
    <span class="slice" style={{ flexGrow: device.compute_fraction ?? 1 / 7 }}>
      <Block device={device} class="slice-block" />
      <Who device={device} />
    </span>
  )
}

/** The coloured field of a device. */
function Block({ device, class: name }: { device: Device; class: string }) {
  const m = messages.value
  const use = useOf(device)
  const step = stepOf(device.utilization_ratio)
  const lines = linesOf(device, false)
  const title = labelOf(undefined, device)
  const word = use === "held" ? m.heldIdle : use === "free" ? m.free : use === "unknown" ? m.unknown : m.sessionCount(device.sessions ?? 0)
  return (
    <a class={`tile block ${name} ${use} ${step === null ? "u-unknown" : `u${step}`}`} href={linkTo(route.value, "device", { gpu: device.gpu })} {...tipOf(title, () => lines)}>
      <Spoken title={title} lines={lines} />
      {device.mig_profile && <span class="tile-label">{device.gpu} · {visible(device.mig_profile)}</span>}
      <b>{device.utilization_ratio === null ? "–" : percent(language.value, device.utilization_ratio)}</b>
      <span class="tile-who">{word}</span>
    </a>
  )
}

function Who({ device }: { device: Device }) {
  const m = messages.value
  if (device.users === null) return <div class="who"><Unknown /></div>
  const unknown = device.unattributed?.some(({ sessions }) => sessions > 0)
  return (
    <div class="who">
      {device.users.map(({ user, sessions }) => (
        <span key={user} class="chip" title={m.sessionCount(sessions)}><UserLink user={user} />{sessions > 1 && <span class="muted">×{sessions}</span>}</span>
      ))}
      {unknown && <span class="chip muted">{m.noUser}</span>}
    </div>
  )
}
