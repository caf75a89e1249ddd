/**
 * Serves Pulumi's provider protocol for the test providers: what `@pulumi/pulumi/provider` offers, and the provider's own
 * configuration beside, which that server keeps to itself. The engine finds a provider as a program on PATH.
 */
import grpc from "@grpc/grpc-js";
import plugin from "@pulumi/pulumi/proto/plugin_pb.js";
import services from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import empty from "google-protobuf/google/protobuf/empty_pb.js";
import struct from "google-protobuf/google/protobuf/struct_pb.js";

export type Properties = Readonly<Record<string, unknown>>;

export interface ResourceHandler {
  /** Inputs whose change needs a new resource; `"*"`: any. */
  readonly replaceOn: readonly string[];
  readonly deleteBeforeReplace?: boolean;
  /**
   * Compares new inputs with what the provider read back, as providers bridged from Terraform do, and not with the old
   * inputs: a value that is read back in another spelling differs each time.
   */
  readonly comparesState?: boolean;
  /** Outputs are secrets when any input is one, as in providers that derive outputs from all inputs. */
  readonly spreadsSecrets?: boolean;
  /** What is wrong with the inputs; in a preview too, where some may be unknown (absent here). */
  check?(inputs: Properties, context: Context): readonly string[];
  create(inputs: Properties, context: Context): Promise<{ id: string; outputs: Properties }>;
  update?(id: string, inputs: Properties, old: Properties, context: Context): Promise<Properties>;
  /** `timeoutSeconds`: as the program gave it; 0: the provider's own. */
  delete(id: string, state: Properties, context: Context, timeoutSeconds: number): Promise<void>;
  /** What is there now; null: nothing. Default: all is as it was. */
  read?(id: string, state: Properties, context: Context): Promise<Properties | null>;
}

export interface Context {
  readonly urn: string;
  readonly configuration: Properties;
}

export interface TestProvider {
  readonly version: string;
  handler(type: string): ResourceHandler;
  /** Throws when the provider could not work with it. */
  configure?(configuration: Properties): Promise<void>;
  invoke?(token: string, args: Properties, configuration: Properties): Promise<Properties>;
}

const SIGNATURE = "4dabf18193072939515e22adb298388d";
const SECRET = "1b47061264138c4ac30d75fd1eb44270";
/** What stands for a value that a preview does not know yet. */
const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Without the marks of secrets; assets become their path or text. */
export function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!isObject(value)) return value;
  if (value[SIGNATURE] === SECRET) return plain(value.value);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

const plainObject = (value: unknown): Record<string, unknown> => {
  const result = plain(value);
  return isObject(result) ? result : {};
};

/** `urn:pulumi:STACK::PROJECT::PARENT$TYPE::NAME` */
const typeOf = (urn: string): string => urn.split("::")[2]?.split("$").at(-1) ?? "";
export const nameOf = (urn: string): string => urn.split("::")[3] ?? "";

type Callback = (error: unknown, response?: unknown) => void;
interface Call<Request> {
  readonly request: Request;
}
type Method = (call: Call<never>, callback: Callback) => void;

const answer =
  <Request>(run: (request: Request) => unknown): Method =>
  (call, callback) => {
    Promise.resolve()
      .then(() => run((call as Call<Request>).request))
      .then(
        (response) => callback(null, response),
        (error: unknown) => {
          const text = error instanceof Error ? error.message : String(error);
          callback({ code: grpc.status.UNKNOWN, details: text });
        },
      );
  };

function hasSecret(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(hasSecret);
  if (!isObject(value)) return false;
  return value[SIGNATURE] === SECRET || Object.values(value).some(hasSecret);
}

const asSecret = (value: unknown) => ({ [SIGNATURE]: SECRET, value });

/** Without what is not known yet. */
function known(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(known);
  if (!isObject(value)) return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== UNKNOWN);
  return Object.fromEntries(entries.map(([key, inner]) => [key, known(inner)]));
}

const toStruct = (value: Properties) =>
  struct.Struct.fromJavaScript(JSON.parse(JSON.stringify(value)) as Record<string, struct.JavaScriptValue>);
const fromStruct = (value: { toJavaScript(): unknown } | undefined): Record<string, unknown> => {
  const result = value?.toJavaScript();
  return isObject(result) ? result : {};
};

function same(a: unknown, b: unknown): boolean {
  const sorted = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sorted);
    if (!isObject(value)) return value;
    return Object.fromEntries(
      Object.keys(value)
        .sort()
        .map((key) => [key, sorted(value[key])]),
    );
  };
  return JSON.stringify(sorted(plain(a))) === JSON.stringify(sorted(plain(b)));
}

export function serve(provider: TestProvider): void {
  let configuration: Properties = {};
  const context = (urn: string): Context => ({ urn, configuration });
  const outputsOf = (urn: string, inputs: unknown, outputs: Properties): Properties =>
    provider.handler(typeOf(urn)).spreadsSecrets === true && hasSecret(inputs)
      ? Object.fromEntries(Object.entries(outputs).map(([key, value]) => [key, asSecret(value)]))
      : outputs;
  const methods: Record<string, Method> = {
    getPluginInfo: answer(() => {
      const info = new plugin.PluginInfo();
      info.setVersion(provider.version);
      return info;
    }),
    getSchema: answer(() => {
      const schema = new messages.GetSchemaResponse();
      schema.setSchema("{}");
      return schema;
    }),
    configure: answer(async (request: InstanceType<typeof messages.ConfigureRequest>) => {
      configuration = plainObject(fromStruct(request.getArgs()));
      await provider.configure?.(configuration);
      const response = new messages.ConfigureResponse();
      response.setAcceptsecrets(true);
      response.setAcceptresources(false);
      return response;
    }),
    checkConfig: answer((request: InstanceType<typeof messages.CheckRequest>) => {
      const response = new messages.CheckResponse();
      response.setInputs(request.getNews());
      return response;
    }),
    diffConfig: answer((request: InstanceType<typeof messages.DiffRequest>) => {
      const old = fromStruct(request.getOldInputs());
      const now = fromStruct(request.getNews());
      const changed = [...new Set([...Object.keys(old), ...Object.keys(now)])].filter(
        (key) => !same(old[key], now[key]),
      );
      const { DiffChanges } = messages.DiffResponse;
      const response = new messages.DiffResponse();
      response.setChanges(changed.length > 0 ? DiffChanges.DIFF_SOME : DiffChanges.DIFF_NONE);
      response.setDiffsList(changed);
      return response;
    }),
    check: answer((request: InstanceType<typeof messages.CheckRequest>) => {
      const handler = provider.handler(typeOf(request.getUrn()));
      const inputs = plainObject(known(plain(fromStruct(request.getNews()))));
      const response = new messages.CheckResponse();
      response.setInputs(request.getNews());
      response.setFailuresList(
        (handler.check?.(inputs, context(request.getUrn())) ?? []).map((reason) => {
          const failure = new messages.CheckFailure();
          failure.setReason(reason);
          return failure;
        }),
      );
      return response;
    }),
    diff: answer((request: InstanceType<typeof messages.DiffRequest>) => {
      const old = fromStruct(request.getOldInputs());
      const now = fromStruct(request.getNews());
      const state = fromStruct(request.getOlds());
      const handler = provider.handler(typeOf(request.getUrn()));
      const before = (key: string) =>
        handler.comparesState === true && key in now && key in state ? state[key] : old[key];
      const ignored = request.getIgnorechangesList();
      const changed = [...new Set([...Object.keys(old), ...Object.keys(now)])].filter(
        (key) => key !== "__defaults" && !ignored.includes(key) && !same(before(key), now[key]),
      );
      const response = new messages.DiffResponse();
      const { DiffChanges } = messages.DiffResponse;
      response.setChanges(changed.length > 0 ? DiffChanges.DIFF_SOME : DiffChanges.DIFF_NONE);
      response.setDiffsList(changed);
      response.setReplacesList(
        changed.filter((key) => handler.replaceOn.includes(key) || handler.replaceOn.includes("*")),
      );
      response.setDeletebeforereplace(handler.deleteBeforeReplace ?? false);
      return response;
    }),
    create: answer(async (request: InstanceType<typeof messages.CreateRequest>) => {
      const inputs = fromStruct(request.getProperties());
      const made = await provider
        .handler(typeOf(request.getUrn()))
        .create(plainObject(inputs), context(request.getUrn()));
      const response = new messages.CreateResponse();
      response.setId(made.id);
      response.setProperties(toStruct({ ...inputs, ...outputsOf(request.getUrn(), inputs, made.outputs) }));
      return response;
    }),
    read: answer(async (request: InstanceType<typeof messages.ReadRequest>) => {
      const response = new messages.ReadResponse();
      const state = fromStruct(request.getProperties());
      const handler = provider.handler(typeOf(request.getUrn()));
      const found =
        handler.read === undefined
          ? {}
          : await handler.read(request.getId(), plainObject(state), context(request.getUrn()));
      // Without an id: it is gone.
      if (found === null) return response;
      response.setId(request.getId());
      response.setProperties(toStruct({ ...state, ...found }));
      response.setInputs(request.getInputs());
      return response;
    }),
    update: answer(async (request: InstanceType<typeof messages.UpdateRequest>) => {
      const inputs = fromStruct(request.getNews());
      const old = plainObject(fromStruct(request.getOlds()));
      const handler = provider.handler(typeOf(request.getUrn()));
      if (handler.update === undefined) throw new Error(`${typeOf(request.getUrn())} has no update`);
      const outputs = await handler.update(
        request.getId(),
        plainObject(inputs),
        old,
        context(request.getUrn()),
      );
      const response = new messages.UpdateResponse();
      response.setProperties(toStruct({ ...inputs, ...outputsOf(request.getUrn(), inputs, outputs) }));
      return response;
    }),
    delete: answer(async (request: InstanceType<typeof messages.DeleteRequest>) => {
      const state = plainObject(fromStruct(request.getProperties()));
      await provider
        .handler(typeOf(request.getUrn()))
        .delete(request.getId(), state, context(request.getUrn()), request.getTimeout());
      return new empty.Empty();
    }),
    invoke: answer(async (request: InstanceType<typeof messages.InvokeRequest>) => {
      if (provider.invoke === undefined) throw new Error(`no test expects ${request.getTok()}`);
      const args = plainObject(fromStruct(request.getArgs()));
      const response = new messages.InvokeResponse();
      response.setReturn(toStruct(await provider.invoke(request.getTok(), args, configuration)));
      return response;
    }),
    cancel: answer(() => new empty.Empty()),
    attach: answer(() => new empty.Empty()),
  };
  const server = new grpc.Server({
    "grpc.max_receive_message_length": 64 * 1024 * 1024,
    "grpc.max_send_message_length": 64 * 1024 * 1024,
  });
  server.addService(
    services.ResourceProviderService as unknown as grpc.ServiceDefinition,
    methods as unknown as grpc.UntypedServiceImplementation,
  );
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error !== null) throw error;
    process.stdout.write(`${port}\n`);
  });
}
