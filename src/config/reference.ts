/** The reference of every key as Markdown: docs/configuration.md is exactly this. */
import { BRIDGE_MEMBERS, IN_MEMBERS, OUT_MEMBERS } from "./bridges.ts";
import type { KeyDefinition } from "./definition.ts";
import { definitionOf, environmentName, KEY_NAMES, type KeyName } from "./keys.ts";
import type { Members } from "./members.ts";
import { DOWNLINK_MEMBERS, UPSTREAM_TOPIC_MEMBERS } from "./upstream-rules.ts";
import { expected, formatDefault } from "./values.ts";

const SECTIONS: readonly (readonly [title: string, prefixes: readonly string[]])[] = [
	["The gateway", ["gateway.", "data.", "log.level", "memory."]],
	["The MQTT door", ["mqtt."]],
	["The native door", ["native."]],
	[
		"The Kafka door",
		[
			"kafka.",
			"advertised.",
			"node.",
			"auto.create.",
			"delete.topic.",
			"socket.",
			"connections.",
			"fetch.",
			"group.",
			"offset",
			"transaction",
			"producer.",
		],
	],
	["The HTTP door", ["http."]],
	["Topics: what holds where a topic has no setting of its own", ["num.", "log.", "message.", "compression."]],
	["Commits and the journal", ["commit.", "journal."]],
	["Tiered storage", ["objectStore.", "tier.", "remote."]],
	["Upstream: the central cluster", ["upstream."]],
	["The uplink: what upstream and uploads share", ["uplink."]],
	["Routes from MQTT to topics", ["routes"]],
	["Bridges to other MQTT brokers", ["bridges"]],
];

const HEAD = `# Configuration

Every key has a default, so Headwater starts without any configuration. Four places can set a key; the first
that does holds:

1. \`--set key=value\` after \`headwater start\` (\`--data DIR\` is short for \`--set data.directory=DIR\`),
2. the environment: \`mqtt.listen\` is \`HEADWATER_MQTT_LISTEN\`,
3. one YAML file, named by \`--config FILE\` or \`HEADWATER_CONFIG\`,
4. the default.

In the file keys may be dotted or nested; these two say the same:

\`\`\`yaml
mqtt.listen: 0.0.0.0:1883
log.retention.ms: 30d
\`\`\`

\`\`\`yaml
mqtt:
  listen: 0.0.0.0:1883
log:
  retention.ms: 30d
\`\`\`

Sizes are plain numbers of bytes or have a unit: \`B\`, \`KiB\`, \`MiB\`, \`GiB\`. Times are plain numbers in the unit
that ends the key's name, or have one: \`ms\`, \`s\`, \`m\`, \`h\`, \`d\`. What Headwater prints are Apache Kafka's plain
numbers. A key that does not exist, a value that is none, and values that contradict each other stop the
start, with the place and what would be right.

- \`headwater config check --config FILE\` says whether a file is right,
- \`headwater config show\` prints what is in force and where each value came from,
- \`headwater config schema\` prints the JSON Schema of the file, for an editor.
`;

const ROUTES = `
A route has a \`filter\` (an MQTT topic filter; a whole level may be \`{name}\`, which matches as \`+\` does), a \`topic\`,
and if wanted a \`key\` and \`headers\`. In key and headers \`{name}\` stands for the named level and \`{topic}\` for the
whole MQTT topic. Braces need quotes in YAML:

\`\`\`yaml
routes:
  - filter: "sensors/{site}/{device}/telemetry"
    topic: telemetry
    key: "{device}"
    headers: { site: "{site}" }
  - filter: "#"
    topic: mqtt
    key: "{topic}"
\`\`\`

These two are the default. A route can do more: take key, headers and timestamp from a JSON payload, rewrite the MQTT topic,
copy to several topics, have a priority, drop QoS 0 under pressure, or store nothing. [Routes](routes.md) says how.

By \`--set\` and in the environment the list is JSON:

\`\`\`sh
headwater start --set 'routes=[{"filter":"#","topic":"all","key":"{topic}"}]'
\`\`\`
`;

const BRIDGES = `
A bridge is a map; names may be dotted or nested. [The bridge](mqtt-bridge.md) says how it works.

\`\`\`yaml
bridges:
  - name: site
    address: mqtt://192.168.1.10:1883
    in:
      - { filter: "sensors/#", local.prefix: "site1/" }
    out:
      - { filter: "commands/#", remote.prefix: "gw7/" }
\`\`\`

${membersTable("bridge", BRIDGE_MEMBERS)}

${membersTable("rule in `in`", IN_MEMBERS)}

${membersTable("rule in `out`", OUT_MEMBERS)}
`;

const UPSTREAM_TOPICS = `
\`\`\`yaml
upstream.topics: telemetry, alarms
\`\`\`

\`\`\`yaml
upstream.topics:
  - { topic: alarms, priority: high }
  - { topic: "sensors.*", to: "{gateway}.{topic}", order: live-first }
  - telemetry
\`\`\`

${membersTable("rule in `upstream.topics`", UPSTREAM_TOPIC_MEMBERS)}

By \`--set\` and in the environment: names, or the list as JSON.
`;

const DOWNLINK = `
\`\`\`yaml
upstream.downlink:
  - { topic: commands, key: "{gateway}" }
  - { topic: settings, from: earliest, retain: true }
\`\`\`

${membersTable("rule in `upstream.downlink`", DOWNLINK_MEMBERS)}
`;

function membersTable(what: string, members: Members): string {
	const rows = Object.entries(members).map(([name, { required, fallback, documentation }]) => {
		const standard = required ? "needed" : fallback === undefined ? "" : `\`${JSON.stringify(fallback)}\``;
		return `| \`${name}\` | ${standard} | ${documentation} |`;
	});
	return [`| of a ${what} | default | |`, "|---|---|---|", ...rows].join("\n");
}

const LISTS: { readonly [K in KeyDefinition["kind"]]?: string } = {
	routes: ROUTES,
	bridges: BRIDGES,
	"upstream-topics": UPSTREAM_TOPICS,
	downlink: DOWNLINK,
};

export function configReference(): string {
	const left = new Set<KeyName>(KEY_NAMES);
	let text = `${HEAD}`;
	for (const [title, prefixes] of SECTIONS) {
		text += `\n## ${title}\n`;
		for (const key of [...left].filter((name) => prefixes.some((prefix) => name.startsWith(prefix)))) {
			left.delete(key);
			text += keyReference(key);
		}
	}
	if (left.size > 0) throw new Error(`no section for ${[...left].join(", ")}`);
	return text;
}

function keyReference(key: KeyName): string {
	const definition = definitionOf(key);
	const list = LISTS[definition.kind];
	if (list !== undefined) return `\n### \`${key}\`\n\n${definition.documentation}\n${list}`;
	return (
		`\n### \`${key}\`\n\n${definition.documentation}\n\n` +
		`- Default: \`${formatDefault(definition).replace(" (", "` (")}${formatDefault(definition).includes(" (") ? "" : "`"}\n` +
		`- Value: ${expected(definition)}\n- Environment: \`${environmentName(key)}\`\n`
	);
}
