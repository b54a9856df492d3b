// What Grafana reads a dashboard's JSON as, by its own types; panels by their kind, where `Dashboard` takes any.
import type * as grafana from '@grafana/schema';
import type * as stateTimeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeSeries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// As it stands in JSON: enums are their values.
type Json<T> = T extends string
  ? `${T}`
  : T extends number
    ? number
    : T extends (infer Item)[]
      ? Json<Item>[]
      : T extends object
        ? { [Key in keyof T]: Json<T[Key]> }
        : T;

type Source = { type: 'prometheus'; uid: string };

// A query as Grafana's data source for Prometheus takes it.
interface Query extends Omit<Json<grafana.DataQuery>, 'datasource'> {
  datasource: Source;
  expr: string;
  format?: 'time_series' | 'table' | 'heatmap';
  instant?: boolean;
  range?: boolean;
  interval?: string;
  legendFormat?: string;
}

interface Override<Custom> {
  matcher: Json<grafana.MatcherConfig>;
  properties: {
    [Key in keyof Field<Custom> | `custom.${string & keyof Custom}`]: {
      id: Key;
      value: Key extends `custom.${infer Part}`
        ? Json<Custom[Part & keyof Custom]>
        : Field<Custom>[Key & keyof Field<Custom>];
    };
  }[keyof Field<Custom> | `custom.${string & keyof Custom}`][];
}

type Field<Custom> = Omit<Json<grafana.FieldConfig>, 'custom'> & { custom?: Partial<Json<Custom>> };

type Of<Type extends string, Options, Custom> = Omit<
  Json<grafana.Panel>,
  'type' | 'options' | 'fieldConfig' | 'targets' | 'datasource'
> & {
  type: Type;
  datasource: Source;
  options: Partial<Json<Options>>;
  fieldConfig: { defaults: Field<Custom>; overrides: Override<Custom>[] };
  targets: Query[];
};

type Panel =
  | Of<'stat', stat.Options, Record<never, never>>
  | Of<'table', table.Options, table.FieldConfig>
  | Of<'timeseries', timeSeries.Options, timeSeries.FieldConfig>
  | Of<'state-timeline', stateTimeline.Options, stateTimeline.FieldConfig>
  | Json<grafana.RowPanel>;

export type Dashboard = Omit<Json<grafana.Dashboard>, 'panels'> & { panels: Panel[] };
