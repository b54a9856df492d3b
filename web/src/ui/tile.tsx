import { language, messages, type Messages } from "../i18n/index.ts"
import { stepOf, useOf, type Gpu } from "../lib/devices.ts"
import { gib, percent } from "../lib/format.ts"
import { linkTo, type Parameters } from "../lib/route.ts"
import { visible } from "../lib/text.ts"
import { route } from "../state.ts"
import type { Device } from "../types.ts"
import { tipOf } from "./tooltip.tsx"

/** Names of the users on a device. */
export function usersOf(device: Device, m: Messages): string {
  if (device.users === null) return m.unknown
  const names = device.users.map(({ user }) => visible(user))
  if (device.unattributed?.some(({ sessions }) => sessions > 0)) names.push(m.noUser)
  return names.join(", ")
}

/** What there is to say of a device, as names and values. */
export function linesOf(device: Device, old: boolean): [string, string][] {
  const m = messages.value
  const lang = language.value
  const lines: [string, string][] = []
  if (old) lines.push([m.state, `${m.old}: ${m.oldTitle}`])
  if (device.model) lines.push([m.model, visible(device.model)])
  if (device.mig_profile) lines.push([m.profile, visible(device.mig_profile)])
  lines.push([m.utilization, device.utilization_ratio === null ? m.unknown : percent(lang, device.utilization_ratio)])
  const total = device.memory_total_bytes
  const used = device.memory_used_bytes === null ? m.unknown : gib(lang, device.memory_used_bytes)
  lines.push([m.memory, total === null ? used : `${used} / ${gib(lang, total)}`])
  lines.push([m.sessions, device.sessions === null ? m.unknown : String(device.sessions)])
  if (device.sessions !== 0) lines.push([m.users, usersOf(device, m)])
  if (useOf(device) === "held") lines.push([m.heldIdle, m.containers(device.held_idle || device.allocations || 1)])
  else if (device.allocations !== null) lines.push([m.heldBy, m.containers(device.allocations)])
  return lines
}

/** What a device is, for who does not see its colour; read before what is written on it. */
export function Spoken({ title, lines }: { title: string; lines: [string, string][] }) {
  return <span class="hidden">{title}: {lines.map(([name, value]) => `${name} ${value}`).join(", ")}. </span>
}

export function labelOf(node: string | undefined, device: Device): string {
  return `${node === undefined ? "" : `${visible(node)} `}GPU ${device.gpu}`
}

interface TileProps {
  node?: string | undefined
  old?: boolean
  device: Device
  dense: boolean
}

/** A device as a field of the grid: its colour is its utilisation, its outline that it is held and idle. */
export function Tile({ node, old = false, device, dense }: TileProps) {
  const m = messages.value
  const use = useOf(device)
  const step = stepOf(device.utilization_ratio)
  const params: Parameters = node === undefined ? { gpu: device.gpu } : { node, gpu: device.gpu }
  const title = labelOf(node, device)
  const lines = linesOf(device, old)
  const classes = ["tile", use, step === null ? "u-unknown" : `u${step}`, old ? "old" : ""]
  return (
    <a class={classes.join(" ")} href={linkTo(route.value, "device", params)} {...tipOf(title, () => lines)}>
      <Spoken title={title} lines={lines} />
      {!dense && (
        <>
          <span class="tile-label">{device.gpu}</span>
          <b>{device.utilization_ratio === null ? "–" : percent(language.value, device.utilization_ratio)}</b>
          <span class="tile-who">{whoLine(device, m)}</span>
        </>
      )}
    </a>
  )
}

/** Who is on it, in a line. */
function whoLine(device: Device, m: Messages): string {
  const use = useOf(device)
  if (use === "held" && !device.sessions) return m.heldIdle
  if (use === "unknown") return m.unknown
  if (use === "free") return m.free
  const [first, ...rest] = device.users ?? []
  const name = first ? visible(first.user) : m.noUser
  return rest.length > 0 ? `${name} ${m.more(rest.length)}` : name
}

/** A GPU: one field, or one for each instance by its share. */
export function GpuTile({ node, old = false, gpu, dense }: { node?: string | undefined; old?: boolean; gpu: Gpu; dense: boolean }) {
  if (gpu.instances.length === 0) return gpu.whole && <Tile node={node} old={old} device={gpu.whole} dense={dense} />
  const uncut = uncutShare(gpu)
  return (
    <span class="mig">
      {gpu.instances.map((device) => (
        <span key={device.gpu} class="mig-part" style={{ flexGrow: device.compute_fraction ?? 1 / 7 }}>
          <Tile node={node} old={old} device={device} dense={true} />
        </span>
      ))}
      {uncut > 0.01 && <span class="mig-part uncut" style={{ flexGrow: uncut }} />}
    </span>
  )
}

/** The share of a GPU that no instance has. */
export function uncutShare(gpu: Gpu): number {
  const shares = gpu.instances.map((device) => device.compute_fraction)
  if (shares.some((share) => share === null)) return 0
  return Math.max(0, 1 - shares.reduce((sum: number, share) => sum + (share ?? 0), 0))
}

/** What the colours mean. */
export function Legend() {
  const m = messages.value
  return (
    <div class="legend" role="group" aria-label={m.legend}>
      <span class="legend-item">{m.utilization}</span>
      <span class="legend-ramp">
        <span>0%</span>
        {[0, 1, 2, 3, 4, 5].map((step) => <span key={step} class={`swatch tile busy u${step}`} />)}
        <span>100%</span>
      </span>
      <span class="legend-item"><span class="swatch tile held u0" />{m.heldIdle}</span>
      <span class="legend-item"><span class="swatch tile free u0" />{m.free}</span>
      <span class="legend-item"><span class="swatch tile unknown u-unknown" />{m.unknown}</span>
      <span class="legend-item"><span class="swatch tile busy u3 old" />{m.old}</span>
    </div>
  )
}
