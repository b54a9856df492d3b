// GPUs, with their MIG instances inside, and how each is used.

import { compareKeys } from "./compare.ts"
import type { Device } from "../types.ts"

/** A GPU: itself, or its instances. */
export interface Gpu {
  index: string
  /** The GPU where it is not in MIG mode. */
  whole: Device | null
  instances: Device[]
}

export type Use = "unknown" | "held" | "free" | "busy"

/** The index of the GPU that a label is of. */
export const indexOf = (label: string): string => label.split("_")[0] ?? label

export function gpus(devices: readonly Device[]): Gpu[] {
  const found = new Map<string, Gpu>()
  for (const device of devices) {
    const index = indexOf(device.gpu)
    let gpu = found.get(index)
    if (!gpu) found.set(index, (gpu = { index, whole: null, instances: [] }))
    if (device.gpu === index) gpu.whole = device
    else gpu.instances.push(device)
  }
  const list = [...found.values()].sort((a, b) => compareKeys(a.index, b.index))
  for (const gpu of list) gpu.instances.sort((a, b) => compareKeys(a.gpu, b.gpu))
  return list
}

/** How a device is used: by its sessions, then by who holds it. Unknown is not free. */
export function useOf(device: Device): Use {
  if (device.held_idle || (device.sessions === 0 && device.allocations)) return "held"
  if (device.sessions === null) return "unknown"
  return device.sessions > 0 ? "busy" : "free"
}

/** Step of the colour, 0 to 5; null where the utilisation is unknown. */
export function stepOf(ratio: number | null): number | null {
  if (ratio === null) return null
  return ratio <= 0 ? 0 : Math.min(5, 1 + Math.floor(ratio * 5))
}
