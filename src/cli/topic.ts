/** `headwater topic create|list|describe|alter|delete`. */
import type { Command } from "commander";
import type { TopicDescription, TopicInfo } from "../native/client/types.ts";
import { UsageError } from "./failure.ts";
import { withGateway } from "./gateway.ts";
import { addExamples, collect, gatewayAddress, splitPair, wholeNumber } from "./options.ts";
import { bold, coloursOn, print, printObjects } from "./output.ts";
import { formatBytes, formatCount, formatTime, plainSetting } from "./quantities.ts";
import { formatPairs, formatTable } from "./table.ts";

const MAX_PARTITIONS = 10_000;

export function addTopic(program: Command): void {
	const topic = program.command("topic").description("make, list, describe, change and delete topics");
	addExamples(
		topic,
		"headwater topic create alarms --partitions 2 --config retention.ms=30d",
		"headwater topic list",
		"headwater topic describe alarms",
	);
	addCreate(topic);
	addList(topic);
	addDescribe(topic);
	addAlter(topic);
	addDelete(topic);
}

function addCreate(topic: Command): void {
	const command = topic
		.command("create <name>")
		.description("make a topic")
		.option(
			"-p, --partitions <n>",
			"how many (default: num.partitions of the gateway)",
			wholeNumber("--partitions", 1, MAX_PARTITIONS),
		)
		.option("--config <name=value>", "a setting by Kafka's name, with a unit if wanted; may be repeated", collect)
		.option("--if-not-exists", "no error when there is such a topic already")
		.option("--json", "print the topic as one JSON object");
	addExamples(
		command,
		"headwater topic create alarms",
		"headwater topic create readings --partitions 8 --config retention.ms=7d --config segment.bytes=16MiB",
	);
	command.action(
		async (
			name: string,
			options: { partitions?: number; config?: string[]; ifNotExists?: boolean; json?: boolean },
		) => {
			const config = settings(options.config ?? []);
			const made = await withGateway(gatewayAddress(command), (client) =>
				client.topics.create({
					name,
					config,
					...(options.partitions === undefined ? {} : { partitions: options.partitions }),
					...(options.ifNotExists ? { ifNotExists: true } : {}),
				}),
			);
			if (options.json) await printObjects([made]);
			else await print(`topic ${made.name} has ${partitions(made.partitions)}\n`);
		},
	);
}

function addList(topic: Command): void {
	const command = topic.command("list").description("list the topics").option("--json", "one JSON object a line");
	addExamples(command, "headwater topic list", "headwater topic list --json | jq -r .name");
	command.action(async (options: { json?: boolean }) => {
		const list = await withGateway(gatewayAddress(command), (client) => client.topics.list());
		list.sort((a, b) => (a.name < b.name ? -1 : 1));
		if (options.json) return printObjects(list);
		if (list.length === 0) return print("there are no topics yet; headwater topic create NAME makes one\n");
		await print(
			formatTable(
				["TOPIC", "PARTITIONS", "CREATED", "SETTINGS"],
				list.map((each) => [each.name, String(each.partitions), formatTime(each.createdMs), settingsText(each)]),
				[1],
			),
		);
	});
}

function addDescribe(topic: Command): void {
	const command = topic
		.command("describe <name>")
		.description("show a topic's partitions and settings")
		.option("--json", "print it as one JSON object");
	addExamples(command, "headwater topic describe telemetry", "headwater topic describe telemetry --json");
	command.action(async (name: string, options: { json?: boolean }) => {
		const description = await withGateway(gatewayAddress(command), (client) => client.topics.describe(name));
		if (options.json) await printObjects([description]);
		else await print(describeTopic(description, coloursOn(process.stdout)));
	});
}

export function describeTopic({ topic, configs, partitions }: TopicDescription, colours: boolean): string {
	const head = formatPairs([
		["topic", bold(topic.name, colours)],
		["id", topic.id],
		["created", formatTime(topic.createdMs)],
		["records", formatCount(partitions.reduce((sum, each) => sum + each.highWatermark - each.logStartOffset, 0))],
		["on disk", formatBytes(partitions.reduce((sum, each) => sum + each.sizeBytes, 0))],
	]);
	// Of tiered storage nothing is said where the topic has none.
	const isTiered = partitions.some((each) => each.tieredOffset > 0 || each.localStartOffset > each.logStartOffset);
	const rows = formatTable(
		["PARTITION", "LOG START", ...(isTiered ? ["HERE FROM", "TIERED TO"] : []), "HIGH WATERMARK", "SIZE", "SEGMENTS"],
		partitions.map((each) => [
			String(each.number),
			String(each.logStartOffset),
			...(isTiered ? [String(each.localStartOffset), String(each.tieredOffset)] : []),
			String(each.highWatermark),
			formatBytes(each.sizeBytes),
			String(each.segments),
		]),
		[0, 1, 2, 3, 4, 5, 6],
	);
	const values = formatTable(
		["SETTING", "VALUE", "FROM"],
		configs.map((each) => [each.name, each.value, each.isDefault ? "default" : "topic"]),
	);
	return `${head}\n${rows}\n${values}`;
}

function addAlter(topic: Command): void {
	const command = topic
		.command("alter <name>")
		.description("change a topic's settings, or give it more partitions")
		.option("--config <name=value>", "sets a setting; may be repeated", collect)
		.option("--unset <name>", "takes a setting back to the gateway's default; may be repeated", collect)
		.option("-p, --partitions <n>", "the new number; it can only grow", wholeNumber("--partitions", 1, MAX_PARTITIONS))
		.option("--json", "print the topic as one JSON object");
	addExamples(
		command,
		"headwater topic alter telemetry --config retention.ms=30d",
		"headwater topic alter telemetry --unset retention.ms --partitions 8",
	);
	command.action(
		async (name: string, options: { config?: string[]; unset?: string[]; partitions?: number; json?: boolean }) => {
			if (!options.config && !options.unset && options.partitions === undefined) {
				throw new UsageError("nothing to change: give --config name=value, --unset name or --partitions n");
			}
			const set = settings(options.config ?? []);
			const altered = await withGateway(gatewayAddress(command), (client) =>
				client.topics.alter(name, {
					set,
					...(options.unset === undefined ? {} : { unset: options.unset }),
					...(options.partitions === undefined ? {} : { partitions: options.partitions }),
				}),
			);
			if (options.json) await printObjects([altered]);
			else await print(`topic ${altered.name} has ${partitions(altered.partitions)}; ${settingsText(altered)}\n`);
		},
	);
}

function addDelete(topic: Command): void {
	const command = topic.command("delete <name>").description("delete a topic and every record in it, at once");
	addExamples(command, "headwater topic delete alarms");
	command.action(async (name: string) => {
		await withGateway(gatewayAddress(command), (client) => client.topics.delete(name));
		await print(`topic ${name} is deleted\n`);
	});
}

function settings(list: readonly string[]): Record<string, string> {
	return Object.fromEntries(
		list.map((text) => {
			const [name, value] = splitPair("--config", text);
			return [name, plainSetting(name, value)];
		}),
	);
}

function settingsText(topic: TopicInfo): string {
	const all = Object.entries(topic.config);
	return all.length === 0 ? "all settings at their default" : all.map(([name, value]) => `${name}=${value}`).join(" ");
}

function partitions(count: number): string {
	return count === 1 ? "1 partition" : `${count} partitions`;
}
