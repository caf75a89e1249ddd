/**
 * The sentences of the alerts in Japanese, by the English one. The type asks for each and for no other, so that a sentence
 * which changes in `alerts.ts` is translated again, or the type check fails with it.
 */
import type { Sentence } from "./alerts.ts";

export const JA: Readonly<Record<Sentence, string>> = {
  // What several alerts say.
  "`status`, `problem` and `warnings` say what is wrong in a sentence":
    "`status`、`problem`、`warnings` に、何が問題かが文で書かれています",
  "each finding has its remedy": "それぞれの所見に対処方法が付いています",
  "this host's sandboxes, and whether they run": "このホストのサンドボックスと、それぞれが動作中かどうか",
  "how full the disk is": "ディスクの使用率",
  "what takes the space: `volumes` are sessions, `gateway` is stored files":
    "何が容量を使っているか。`volumes` はセッション、`gateway` は保存されたファイルです",
  "the load; compare it with the number of processors": "負荷。プロセッサーの数と比べます",

  // KernelyardDown
  "The gateway does not answer Prometheus.": "ゲートウェイが Prometheus に応答しません。",
  "The gateway's process is gone, hangs, or cannot be reached. Callers most likely get nothing either.":
    "ゲートウェイのプロセスが終了したか、ハングしているか、到達できません。呼び出し側も、おそらく応答を得られていません。",
  "`200` on the host itself: then the network is at fault":
    "ホスト自身で `200` になれば、問題はネットワークにあります",
  "`OK`: callers are served, and only the metrics are away":
    "`OK` であれば、呼び出しは処理されており、メトリクスだけが取得できない状態です",
  "Nothing answers: read the end of the gateway's log. A setting that cannot be used is named there; correct it and start again.":
    "何も応答しない場合: ゲートウェイのログの末尾を読みます。使えない設定があれば、その名前が書かれています。修正して、もう一度起動します。",
  "Only the metrics are away: the log says which port was taken; change `KERNELYARD_METRICS_PORT`.":
    "メトリクスだけが取得できない場合: どのポートが使用中だったかがログにあります。`KERNELYARD_METRICS_PORT` を変更します。",
  "Sandboxes and their variables outlive a gateway: starting it again loses none.":
    "サンドボックスとその変数は、ゲートウェイが終了しても残ります。ゲートウェイを起動し直しても、失われません。",
  "`up` is 1 again.": "`up` が 1 に戻ったとき。",

  // KernelyardFleetAway
  "This host takes no part in its fleet: calls of sessions are refused.":
    "このホストはフリートに参加していません。セッションの呼び出しは拒否されます。",
  "The fleet's engine (`KERNELYARD_FLEET_URL`) does not answer this host, or another machine has this host's id. Calls of sessions get 503 `fleet_unavailable`; files and calls without a session are served. If all hosts say so, the engine is away.":
    "フリートのエンジン（`KERNELYARD_FLEET_URL`）がこのホストに応答しないか、別のマシンがこのホストの ID を使っています。セッションの呼び出しには 503 `fleet_unavailable` が返ります。ファイルと、セッションを使わない呼び出しは処理されます。すべてのホストでこのアラートが出ている場合は、エンジンが停止しています。",
  "`fleet`: its `problem`, and the hosts that there were when the engine last answered":
    "`fleet` の `problem` と、エンジンが最後に応答したときのホストの一覧",
  "All hosts: bring the engine back. What it lost is told to it again by the hosts; sessions go on where they are.":
    "すべてのホストの場合: エンジンを復旧します。エンジンが失った内容は各ホストが改めて伝え、セッションは今の場所で続きます。",
  "One host: its way to the engine is broken (address, password, certificate, firewall); the gateway's log has the reason.":
    "1 台だけの場合: そのホストからエンジンまでの経路に問題があります（アドレス、パスワード、証明書、ファイアウォール）。理由はゲートウェイのログにあります。",
  "`another machine … has this host's id`: the disk of one of them is a copy. Remove `fleet-host` from the `gateway` folder of its data directory, and start it again.":
    "`another machine … has this host's id` の場合: どちらかのマシンのディスクがコピーです。コピーのほうのデータディレクトリの `gateway` フォルダから `fleet-host` を削除し、もう一度起動します。",
  "`kernelyard_fleet_member` is 1 again.": "`kernelyard_fleet_member` が 1 に戻ったとき。",

  // KernelyardRestarts
  "A process of the service starts again and again.": "サービスのプロセスが、再起動を繰り返しています。",
  "Gateway or launcher (label `process`) ends by itself. Every end breaks off the calls that run.":
    "ゲートウェイまたはランチャー（ラベル `process`）が、ひとりでに終了しています。終了するたびに、実行中の呼び出しが途切れます。",
  "whether it grows towards the limit of its container": "コンテナの上限に向かって増えていないか",
  "Read what the process said last in its log before each start.":
    "それぞれの起動の直前に、プロセスがログに最後に書いた内容を読みます。",
  "Ended by the kernel for memory: raise `KERNELYARD_GATEWAY_MEMORY`.":
    "メモリ不足でカーネルに終了させられている場合: `KERNELYARD_GATEWAY_MEMORY` を増やします。",
  "It has run for half an hour.": "30 分間動き続けたとき。",

  // KernelyardNotExecuting
  "The host does not execute code.": "ホストがコードを実行していません。",
  "The service's own check, a line of Python in a real sandbox, fails or has not succeeded for ten minutes. Calls fail likewise; a load balancer has taken the host out.":
    "サービス自身の検査（実際のサンドボックスで 1 行の Python を実行）が失敗しているか、10 分間成功していません。呼び出しも同じように失敗します。ロードバランサーは、このホストを切り離しています。",
  "0: that part is away; see its own alert":
    "0 であれば、その部分が停止しています。その部分のアラートを参照してください",
  "Another alert of this host names the part: follow that one first.":
    "このホストの別のアラートが停止した部分を示している場合: 先にそちらの手順に従います。",
  "Sandboxes do not start: the launcher's log has the engine's words. `npm run doctor` tries each step of it.":
    "サンドボックスが起動しない場合: エンジンのメッセージがランチャーのログにあります。`npm run doctor` は、起動の各段階を試します。",
  "After an upgrade of engine, gVisor or kernel: go back to the one before.":
    "エンジン、gVisor、またはカーネルの更新後の場合: 前のバージョンに戻します。",
  "`kernelyard_canary_ok` is 1 and the age stays below a minute and a half.":
    "`kernelyard_canary_ok` が 1 で、最後の成功からの経過時間が 1 分半未満に保たれているとき。",

  // KernelyardLauncherAway
  "The launcher does not answer the gateway.": "ランチャーがゲートウェイに応答しません。",
  "No sandbox can be made or attached to. Calls are refused with `launcher_unavailable`.":
    "サンドボックスの作成も、サンドボックスへの接続もできません。呼び出しは `launcher_unavailable` で拒否されます。",
  "a socket of the group `kernelyard`, mode `srw-rw----`":
    "グループが `kernelyard`、モードが `srw-rw----` のソケット",
  "0 while it is away": "停止している間は 0 です",
  "Read the end of the launcher's log: it says why it stopped, such as a host that does not isolate.":
    "ランチャーのログの末尾を読みます。ホストで隔離が成り立たないなど、停止した理由が書かれています。",
  "Start it again. It finds its containers by their labels; variables are kept.":
    "ランチャーを起動し直します。ランチャーはラベルで自分のコンテナを見つけます。変数は残ります。",
  "`kernelyard_launcher_up` is 1.": "`kernelyard_launcher_up` が 1 のとき。",

  // KernelyardEngineAway
  "The container engine does not answer the launcher.": "コンテナエンジンがランチャーに応答しません。",
  "Sessions that run go on; nothing new starts. Calls that need a sandbox get `engine_unavailable`.":
    "動作中のセッションは続きますが、新しいものは何も起動しません。サンドボックスを必要とする呼び出しには `engine_unavailable` が返ります。",
  "a version, and `runsc` among the runtimes": "バージョンが表示され、ランタイムの中に `runsc` があること",
  'which round trips end as `outcome="away"`': '`outcome="away"` で終わっている往復',
  "Start the engine, or restart it when it hangs. The launcher connects again by itself within 5 s.":
    "エンジンを起動します。ハングしている場合は再起動します。ランチャーは 5 秒以内に自動的に再接続します。",
  "It starts and ends again: its own log names the disk or the configuration.":
    "起動してもすぐに終了する場合: エンジン自身のログに、ディスクや設定の問題が書かれています。",
  "`kernelyard_engine_up` is 1.": "`kernelyard_engine_up` が 1 のとき。",

  // KernelyardEngineSlow
  "The container engine answers slowly.": "コンテナエンジンの応答が遅くなっています。",
  "A round trip takes more than 2 s on average; after 20 s the launcher gives up. Usually the disk, or too many containers of others.":
    "1 回の往復に平均で 2 秒以上かかっています。ランチャーは 20 秒であきらめます。たいていの原因は、ディスクか、ほかの用途のコンテナが多すぎることです。",
  "which operation takes the time": "どの操作に時間がかかっているか",
  "Look for other users of the engine or the disk on this host and move them.":
    "このホストでエンジンやディスクを使っているほかのものを探し、別の場所に移します。",
  "Restart the engine when it alone is slow: sessions lose their variables then, not their files.":
    "エンジンだけが遅い場合は、再起動します。セッションの変数は失われますが、ファイルは残ります。",
  "The average is below 2 s.": "平均が 2 秒未満のとき。",

  // KernelyardErrors
  "More than 2 % of requests end in an error of the service.":
    "リクエストの 2 % 以上が、サービスのエラーで終わっています。",
  "What user code does is never a 5xx: these are the service's own failures.":
    "ユーザーのコードが原因で 5xx になることはありません。これらはサービス自身の障害です。",
  "which path and status grow": "どのパスとステータスが増えているか",
  "503: the log's lines `request` have `error`: `sandbox_failed`, `engine_unavailable`, `launcher_unavailable` lead to the alerts of those parts.":
    "503 の場合: ログの `request` の行に `error` があります。`sandbox_failed`、`engine_unavailable`、`launcher_unavailable` であれば、それぞれの部分のアラートを参照します。",
  "507: the disk; see KernelyardDiskFull.":
    "507 の場合: ディスクが原因です。KernelyardDiskFull を参照します。",
  "500: the log's line `unexpected error` has the place; report it.":
    "500 の場合: ログの `unexpected error` の行に発生箇所があります。不具合として報告してください。",
  "The share is below 2 % for five minutes.": "割合が 2 % 未満の状態が 5 分間続いたとき。",

  // KernelyardCredentialsRefused
  "A fifth of requests carries credentials that are refused.":
    "リクエストの 5 分の 1 が、認証情報を拒否されています。",
  "LibreChat's key or token pair does not match this service's, a clock is wrong, or somebody tries keys.":
    "LibreChat のキーまたは鍵ペアがこのサービスのものと一致しないか、どこかの時計がずれているか、誰かがキーを試しています。",
  "which paths are refused; none at all is well": "どのパスが拒否されているか。何も表示されなければ正常です",
  "the host's clock; compare it with LibreChat's": "ホストの時計。LibreChat 側の時計と比べます",
  "The log's line of such a request has `why`. `kid` or signature: LibreChat signs with another key than the gateway verifies with.":
    "拒否されたリクエストのログの行に `why` があります。`kid` または署名であれば、LibreChat は、ゲートウェイが検証に使う鍵とは別の鍵で署名しています。",
  "Too early or expired: correct the clock that is wrong.":
    "早すぎる、または期限切れの場合: ずれている時計を直します。",
  "Unknown addresses: close the way to the port for them.":
    "知らないアドレスの場合: そのアドレスからこのポートに到達できないようにします。",
  "The share is below a fifth.": "割合が 5 分の 1 を下回ったとき。",

  // KernelyardHostFull
  "Calls are refused because every place of the host is taken.":
    "ホストの枠がすべて使用中のため、呼び出しが拒否されています。",
  "A call runs in each sandbox that fits into the memory budget, and callers get 429 after 15 s of waiting.":
    "メモリの予算に収まるすべてのサンドボックスで呼び出しが実行中です。呼び出し側には、15 秒待った後に 429 が返ります。",
  "`busy` against `capacity`": "`capacity` に対する `busy`",
  "the budget, and what is promised of it": "予算と、そのうちの割り当て済みの量",
  "memory that the host has left": "ホストに残っているメモリ",
  "Memory is left on the host: raise `KERNELYARD_MEMORY_BUDGET`.":
    "ホストにメモリが残っている場合: `KERNELYARD_MEMORY_BUDGET` を増やします。",
  "None is left: a larger host, or a smaller `KERNELYARD_MEMORY` per sandbox.":
    "残っていない場合: より大きいホストにするか、サンドボックスごとの `KERNELYARD_MEMORY` を減らします。",
  "Long calls take the places: lower `KERNELYARD_TIMEOUT_MAX_MS`.":
    "長い呼び出しが枠を占めている場合: `KERNELYARD_TIMEOUT_MAX_MS` を短くします。",
  "1: it is the disk, not memory, that has no place left": "1 なら、枠が足りない原因はメモリではなくディスク",
  "It is the disk: each session that is awake is promised `KERNELYARD_SESSION_DISK` whole. Free space, a larger disk, or less for each.":
    "ディスクが原因の場合: 起動中のセッションには、それぞれ `KERNELYARD_SESSION_DISK` の全量が確保されます。空き容量を増やすか、より大きいディスクにするか、1 つあたりの量を減らします。",
  "No call was refused for five minutes.": "5 分間、呼び出しが 1 つも拒否されなかったとき。",

  // KernelyardSessionsGiveWay
  "Idle sessions lose their variables because the host is too small.":
    "ホストが小さすぎるため、待機中のセッションが変数を失っています。",
  "More sessions are in use within `KERNELYARD_IDLE_MS` than fit, and none of those idle longest could sleep. They are ended; files are kept, variables are not.":
    "`KERNELYARD_IDLE_MS` の間に、収まる数より多くのセッションが使われ、最も長く待機していたものが休眠できませんでした。そのようなセッションは終了します。ファイルは残りますが、変数は失われます。",
  "sessions with a kernel": "カーネルを持つセッションの数",
  "why variables were lost": "変数が失われた理由",
  "0: sessions do not sleep": "0 であれば、セッションは休眠しません",
  "Where sessions do not sleep, mend what `checkpoints` of `/health?detail` names: then they give way without a loss.":
    "セッションが休眠しない場合: `/health?detail` の `checkpoints` が示す問題を直します。そうすれば、セッションは変数を失わずに枠を空けられます。",
  "Raise `KERNELYARD_MEMORY_BUDGET` or take a larger host.":
    "`KERNELYARD_MEMORY_BUDGET` を増やすか、より大きいホストにします。",
  "Lower `KERNELYARD_IDLE_MS`, so that those who left make room before others must.":
    "`KERNELYARD_IDLE_MS` を短くします。そうすれば、もう使われていないセッションが、ほかのセッションより先に枠を空けます。",
  "Fewer than 20 in an hour.": "1 時間に 20 件未満になったとき。",

  // KernelyardKernelsLost
  "Sessions lose their sandboxes for no reason of the service's own.":
    "サービス自身の理由によらず、セッションがサンドボックスを失っています。",
  "Sandboxes end by themselves: user code ends its own supervisor, containers are removed from outside, or the image is broken.":
    "サンドボックスがひとりでに終了しています。ユーザーのコードが自分のスーパーバイザーを終了させたか、コンテナが外部から削除されたか、イメージが壊れています。",
  "how sandboxes ended": "サンドボックスがどのように終了したか",
  "`engine_lost`: somebody removes containers (`docker prune` in a timer), or the engine restarts.":
    "`engine_lost` の場合: 誰かがコンテナを削除しているか（タイマーで動く `docker prune` など）、エンジンが再起動しています。",
  "`disk_failed`: something else than the sessions has filled the disk; make room, and keep it off the disk of the data directory.":
    "`disk_failed` の場合: セッション以外の何かがディスクを使い切っています。空きを作り、データディレクトリのあるディスクには置かないようにします。",
  "`protocol_error`: the launcher's log names the sandbox; it is hostile code or a broken image. `npm run doctor` tries the image.":
    "`protocol_error` の場合: ランチャーのログにサンドボックスの名前があります。悪意のあるコードか、壊れたイメージが原因です。`npm run doctor` でイメージを試せます。",
  "`exited`: one user's code does this; the log's lines `sandbox ended` and `request` share the time.":
    "`exited` の場合: あるユーザーのコードが原因です。ログの `sandbox ended` と `request` の行を、時刻で突き合わせます。",
  "Fewer than five in half an hour.": "30 分間に 5 件未満になったとき。",

  // KernelyardSessionsWait
  "One call in ten waits more than 10 s for its own session.":
    "10 回に 1 回の呼び出しが、自分のセッションを 10 秒以上待っています。",
  "Parallel chats share a session (LibreChat's workspace of scope `user`), and long calls keep the others waiting.":
    "並行するチャットが 1 つのセッションを共有し（LibreChat の、範囲が `user` のワークスペース）、長い呼び出しがほかの呼び出しを待たせています。",
  "how long calls waited": "呼び出しが待った時間",
  "how many wait now": "今、待っている数",
  "Set `KERNELYARD_BUSY_INTERRUPT_MS`, so that a call gives way to the next one of its session.":
    "`KERNELYARD_BUSY_INTERRUPT_MS` を設定し、実行中の呼び出しが、同じセッションの次の呼び出しに譲るようにします。",
  "In LibreChat, narrow the workspace's scope to `conversation`.":
    "LibreChat で、ワークスペースの範囲を `conversation` に狭めます。",
  "Nine in ten calls wait less than 10 s.": "呼び出しの 9 割で、待ち時間が 10 秒未満のとき。",

  // KernelyardCallersLimited
  "Callers run into limits.": "呼び出し側が上限に達しています。",
  "Requests get 429: one caller asks more often than `KERNELYARD_RATE_LIMITS` allows, runs more calls than one may, or the host is full.":
    "リクエストに 429 が返っています。ある呼び出し側が `KERNELYARD_RATE_LIMITS` で許される回数より多く要求しているか、1 人に許される数より多くの呼び出しを実行しているか、ホストが満杯です。",
  "which paths get 429": "どのパスに 429 が返っているか",
  "`host_full` and `caller_full`": "`host_full` と `caller_full`",
  "`host_full` grows: see KernelyardHostFull.":
    "`host_full` が増えている場合: KernelyardHostFull を参照します。",
  "The log's lines have the tenant: tell whoever runs away, or give that tenant a key of its own.":
    "ログの行にテナントがあります。要求が増え続けている利用者に知らせるか、そのテナントに専用のキーを発行します。",
  "Fewer than 20 in ten minutes.": "10 分間に 20 件未満になったとき。",

  // KernelyardStartsFail
  "Sandboxes do not start.": "サンドボックスが起動しません。",
  "The engine, gVisor, the image or the volumes fail. Calls in sessions that are there still work.":
    "エンジン、gVisor、イメージ、またはボリュームに障害があります。すでにあるセッションの呼び出しは、引き続き動作します。",
  "`failed` against `started`": "`started` に対する `failed`",
  "The launcher's log has `sandbox did not start` with the engine's reason.":
    "ランチャーのログの `sandbox did not start` に、エンジンが示した理由があります。",
  "No space, no memory, no loop device: free what is named there.":
    "空き容量、メモリ、ループデバイスの不足: ログが示すものを空けます。",
  "After an upgrade of the engine or of gVisor: go back to the one before.":
    "エンジンまたは gVisor の更新後の場合: 前のバージョンに戻します。",
  "Starts succeed for ten minutes.": "10 分間、起動が成功し続けたとき。",

  // KernelyardStartsSlow
  "A sandbox takes more than 5 s to start.": "サンドボックスの起動に 5 秒以上かかっています。",
  "It takes below half a second on an idle host. The processor or the disk is overloaded.":
    "負荷のないホストでは 0.5 秒未満です。プロセッサーまたはディスクが過負荷になっています。",
  "which step takes the time": "どの段階に時間がかかっているか",
  "Lower `KERNELYARD_CPUS` per sandbox, or take more processors.":
    "サンドボックスごとの `KERNELYARD_CPUS` を減らすか、プロセッサーを増やします。",
  "A slow disk: put the engine's data root on a faster one.":
    "ディスクが遅い場合: エンジンのデータルートを、より速いディスクに移します。",
  "The average is below 5 s.": "平均が 5 秒未満のとき。",

  // KernelyardPoolEmpty
  "No spare sandbox has been ready for a quarter of an hour.":
    "使用できる予備のサンドボックスが、15 分間ありません。",
  "Every call without a session waits for a new sandbox. The pool is too small, or there is no room for it beside sessions.":
    "セッションを使わない呼び出しは、毎回、新しいサンドボックスの起動を待っています。プールが小さすぎるか、セッションのほかにプールを置く余地がありません。",
  "`ready` against `size`": "`size` に対する `ready`",
  "whether places are left": "枠が残っているか",
  "Places are left: raise `KERNELYARD_POOL_SIZE`.":
    "枠が残っている場合: `KERNELYARD_POOL_SIZE` を増やします。",
  "None are: see KernelyardHostFull.": "残っていない場合: KernelyardHostFull を参照します。",
  "`kernelyard_pool_ready` is above 0.": "`kernelyard_pool_ready` が 0 より大きいとき。",

  // KernelyardCheckpointsFail
  "Sandboxes do not start from their checkpoints.": "サンドボックスがチェックポイントから起動しません。",
  "They start anew instead, which takes longer; sessions that were to wake have lost their variables and were told. After three failures in a row no checkpoint is used until the launcher starts again.":
    "代わりに最初から起動するため、時間がかかります。目を覚ますはずだったセッションは変数を失い、そのことを伝えられています。失敗が 3 回続くと、ランチャーが起動し直すまで、チェックポイントは使われません。",
  "`failed` against `restored`": "`restored` に対する `failed`",
  "whether the disk is full": "ディスクが満杯かどうか",
  "The launcher's log says what gVisor answered; `/health?detail` says why checkpoints are off.":
    "gVisor の応答はランチャーのログに、チェックポイントが無効になった理由は `/health?detail` にあります。",
  "Free the disk, or lower `KERNELYARD_SLEEP_DISK`.":
    "ディスクを空けるか、`KERNELYARD_SLEEP_DISK` を減らします。",
  "Restart the launcher: it makes its templates anew. Or set `KERNELYARD_CHECKPOINTS=off`.":
    "ランチャーを再起動します。テンプレートが作り直されます。または `KERNELYARD_CHECKPOINTS=off` を設定します。",
  "None fails for an hour.": "1 時間、失敗が 1 つもなかったとき。",

  // KernelyardLeftovers
  "Sandboxes are there that nobody uses and nothing removes.":
    "誰も使わず、何にも削除されないサンドボックスがあります。",
  "They take memory from others. The engine refuses to remove them, or the gateway has lost sight of them.":
    "ほかのサンドボックスのためのメモリを占めています。エンジンが削除を拒否しているか、ゲートウェイが見失っています。",
  "`unowned`: nobody answers for them; `doomed`: they are not removed":
    "`unowned` は所有者のないもの、`doomed` は削除されずに残っているものです",
  "`doomed`: the launcher's log says what the engine answers; restart the engine when it hangs.":
    "`doomed` の場合: エンジンの応答がランチャーのログにあります。エンジンがハングしている場合は再起動します。",
  "`unowned`: start the gateway again; what it does not adopt it removes.":
    "`unowned` の場合: ゲートウェイを起動し直します。ゲートウェイは、引き継がないものを削除します。",
  "Both are 0.": "どちらも 0 のとき。",

  // KernelyardOrphans
  "The sweep keeps finding leftovers without an owner.":
    "定期的な清掃で、所有者のない残り物が見つかり続けています。",
  "They are removed; but something ends launchers or containers half-way, again and again.":
    "それらは削除されます。しかし、何かがランチャーやコンテナを、繰り返し途中で終了させています。",
  "containers or loop devices": "コンテナか、ループデバイスか",
  "whether the launcher has just started": "ランチャーが起動したばかりかどうか",
  "See whether a process is killed (`KernelyardRestarts`) or two launchers share a data directory.":
    "プロセスが強制終了されていないか（`KernelyardRestarts`）、2 つのランチャーが 1 つのデータディレクトリを共有していないかを確認します。",
  "Fewer than ten in an hour.": "1 時間に 10 件未満になったとき。",

  // KernelyardLoopDevicesLeak
  "More loop devices are attached than sessions have volumes.":
    "セッションのボリュームの数より多くのループデバイスが接続されています。",
  "Devices are not freed at their volumes' last unmount. When they run out, sessions cannot start.":
    "ボリュームの最後のアンマウント時に、デバイスが解放されていません。デバイスが尽きると、セッションを開始できません。",
  "devices in front of `/var/lib/kernelyard/volumes`, and whether the kernel frees them (`AUTOCLEAR` 1)":
    "`/var/lib/kernelyard/volumes` を対象とするデバイスと、カーネルがそれを解放するかどうか（`AUTOCLEAR` が 1）",
  "A device whose volume no container uses: something else has it mounted (`findmnt -S DEVICE`); unmount it there.":
    "どのコンテナも使っていないボリュームのデバイスがある場合: ほかの何かがマウントしています（`findmnt -S DEVICE`）。そこでアンマウントします。",
  "Start the launcher again: its sweep frees devices that nobody owns.":
    "ランチャーを起動し直します。所有者のないデバイスは、清掃で解放されます。",
  "No more than five devices above the sessions with a kernel.":
    "デバイスの数が、カーネルを持つセッションの数に 5 を加えた数以下のとき。",

  // KernelyardDescriptors
  "A process has used most of its file descriptors.":
    "プロセスがファイルディスクリプターの大半を使っています。",
  "At the limit every call fails while the process still answers. They leak, or the limit is too low for so many sessions.":
    "上限に達すると、プロセスは応答しても、すべての呼び出しが失敗します。ディスクリプターがリークしているか、セッションの数に対して上限が低すぎます。",
  "which process": "どのプロセスか",
  "whether requests explain it": "リクエストの数で説明がつくか",
  "It grows without load: start the process again (variables are kept) and report it with the log.":
    "負荷がないのに増えている場合: プロセスを起動し直し（変数は残ります）、ログを添えて報告してください。",
  "It follows the load: raise the service's limit of open files.":
    "負荷に応じて増えている場合: サービスが開けるファイル数の上限を引き上げます。",
  "Below 70 %.": "70 % 未満のとき。",

  // KernelyardDiskFull
  "The disk has no room for another session beside its reserve: none begins.":
    "ディスクに、予備領域のほかにはセッション 1 つ分の空きもありません。セッションを始められません。",
  "A session begins only where its whole volume (`KERNELYARD_SESSION_DISK`) fits beside the reserve (`KERNELYARD_DISK_RESERVE`): its calls are refused with `storage_full` (507). Where only the reserve is free, uploads and outputs are, too.":
    "セッションが始まるのは、そのボリューム全体（`KERNELYARD_SESSION_DISK`）が予備領域（`KERNELYARD_DISK_RESERVE`）のほかに収まるときだけです。収まらなければ、その呼び出しは `storage_full`（507）で拒否されます。空きが予備領域だけになると、アップロードと出力ファイルも拒否されます。",
  "Something else fills the disk: remove that.": "ほかのものがディスクを埋めている場合: それを削除します。",
  "Session volumes: lower `KERNELYARD_SESSION_VOLUME_TTL_MS`; stored files: lower `KERNELYARD_FILE_TTL_MS`. The next sweep removes what is too old.":
    "セッションのボリュームが原因の場合は `KERNELYARD_SESSION_VOLUME_TTL_MS` を、保存されたファイルが原因の場合は `KERNELYARD_FILE_TTL_MS` を短くします。古くなったものは、次の清掃で削除されます。",
  "Or enlarge the disk; nothing needs a restart.":
    "または、ディスクを大きくします。何も再起動する必要はありません。",
  "More is free than the reserve and one session's volume.":
    "予備領域とセッション 1 つ分のボリュームより多くの空きがあるとき。",

  // KernelyardDiskFilling
  "At the present pace the disk is full within a day.":
    "今のペースでは、1 日以内にディスクが満杯になります。",
  "Then no session begins; see KernelyardDiskFull.":
    "満杯になると、セッションを始められません。KernelyardDiskFull を参照してください。",
  "what sessions take": "セッションが使っている量",
  "As for KernelyardDiskFull, with time to choose.":
    "KernelyardDiskFull と同じです。方法を選ぶ時間はあります。",
  "The forecast is above the reserve and one session's volume.":
    "予測される空きが、予備領域とセッション 1 つ分のボリュームを上回っているとき。",

  // KernelyardFilesNearLimit
  "Stored files have used nine tenths of their limit.": "保存されたファイルが、上限の 9 割に達しました。",
  "At the limit uploads and outputs are refused with `storage_full` (507).":
    "上限に達すると、アップロードと出力ファイルは `storage_full`（507）で拒否されます。",
  "bytes against the limit": "上限に対するバイト数",
  "Raise `KERNELYARD_FILES_TOTAL` where the disk has room.":
    "ディスクに余裕がある場合は、`KERNELYARD_FILES_TOTAL` を増やします。",
  "Lower `KERNELYARD_FILE_TTL_MS`; LibreChat needs 24 hours.":
    "`KERNELYARD_FILE_TTL_MS` を短くします。LibreChat には 24 時間が必要です。",
  "Below nine tenths.": "9 割未満のとき。",

  // KernelyardVolumesBroken
  "Sessions cannot have their volumes.": "セッションがボリュームを使えません。",
  "Calls in a session that has no sandbox yet fail; calls without a session work.":
    "まだサンドボックスのないセッションの呼び出しは失敗します。セッションを使わない呼び出しは動作します。",
  "that the host has loop devices": "ホストにループデバイスがあること",
  "The launcher's log has the reason. It tries again with each session, every 5 s at most.":
    "理由はランチャーのログにあります。ランチャーは、セッションごとに、最短 5 秒間隔で再試行します。",
  "`loop-control` is missing: load the kernel's module (`modprobe loop`).":
    "`loop-control` がない場合: カーネルのモジュールを読み込みます（`modprobe loop`）。",
  "`kernelyard_session_volumes_ok` is 1.": "`kernelyard_session_volumes_ok` が 1 のとき。",

  // KernelyardNoDiskQuota
  "Session volumes have no hard size on this host.":
    "このホストでは、セッションのボリュームの大きさが強制されません。",
  "One session can fill the disk. The host had no loop devices when its data directory was made.":
    "1 つのセッションがディスクを埋めてしまうことがあります。データディレクトリを作成したとき、ホストにループデバイスがありませんでした。",
  "whether the host has loop devices now": "今、ホストにループデバイスがあるかどうか",
  "Give the host loop devices and start with a new data directory; the present one keeps its decision, so that no session begins with an empty volume.":
    "ホストでループデバイスを使えるようにし、新しいデータディレクトリで起動します。今のデータディレクトリでは、空のボリュームで始まるセッションが出ないように、作成時の決定が維持されます。",
  "`kernelyard_session_disk_quota` is 1.": "`kernelyard_session_disk_quota` が 1 のとき。",

  // KernelyardUnsafe
  "Code shares the host's kernel.": "コードがホストのカーネルを共有しています。",
  "`KERNELYARD_ISOLATION=runc-unsafe` is set: right for trusted code alone.":
    "`KERNELYARD_ISOLATION=runc-unsafe` が設定されています。これは、信頼できるコードだけに適した設定です。",
  "the isolation and the image that run": "使用中の隔離方式とイメージ",
  "Remove the setting and start again: the gateway then insists on gVisor.":
    "この設定を削除し、もう一度起動します。ゲートウェイは gVisor を必須とするようになります。",
  '`isolation="runsc"`.': '`isolation="runsc"` になったとき。',

  // KernelyardAuditLost
  "The audit log has lost entries.": "監査ログの記録が失われました。",
  "They could not be written: the disk is full or broken. Calls are served all the same.":
    "ディスクが満杯か壊れているため、記録を書き込めませんでした。呼び出しの処理は続いています。",
  "files of today, of the user `kernelyard`": "所有者が `kernelyard` の、今日のファイル",
  "Free space on the disk; see KernelyardDiskFull.":
    "ディスクを空けます。KernelyardDiskFull を参照してください。",
  "The gateway's log says under `audit log` what the disk answers.":
    "ディスクの応答は、ゲートウェイのログの `audit log` にあります。",
  "No entry was lost for a quarter of an hour.": "15 分間、記録が 1 つも失われなかったとき。",

  // KernelyardAuditCopyBehind
  "The audit log's bucket has been behind for half an hour.":
    "監査ログのバケットへのコピーが、30 分以上遅れています。",
  "The bucket (`KERNELYARD_AUDIT_S3_BUCKET`) does not take the audit log. Entries are kept on the disk and copied later, unless the host is lost or they are removed there first (`KERNELYARD_AUDIT_BYTES`). Calls are served all the same.":
    "バケット（`KERNELYARD_AUDIT_S3_BUCKET`）に監査ログをコピーできません。記録はディスクに残り、後でコピーされます。ただし、その前にホストが失われるか、ディスクから削除されると（`KERNELYARD_AUDIT_BYTES`）、失われます。呼び出しの処理は続いています。",
  '`outcome="failed"` grows with each attempt': '試行のたびに、`outcome="failed"` が増えます',
  "the host's clock; stores refuse one that is a quarter of an hour off":
    "ホストの時計。15 分ずれていると、ストアに拒否されます",
  "The gateway's log says under `the audit log is not copied` what the store answers: name, region or endpoint, credentials, permissions.":
    "ストアの応答は、ゲートウェイのログの `the audit log is not copied` にあります。バケットの名前、リージョンまたはエンドポイント、認証情報、権限を確認します。",
  "It is tried again by itself, every ten minutes at the longest; nothing has to be started anew, unless a setting changes.":
    "コピーは、最長 10 分の間隔で自動的に再試行されます。設定を変えない限り、再起動は不要です。",
  "Erasures that did not reach the bucket meanwhile said so: ask for them again.":
    "この間の消去がバケットに届かなかった場合は、消去の報告に示されています。もう一度消去を実行します。",
  "`kernelyard_audit_copy_age_seconds` stays below five minutes.":
    "`kernelyard_audit_copy_age_seconds` が 5 分未満の状態が続いたとき。",

  // KernelyardClockWrong
  "The host's clock differs from Prometheus' by more than 30 s.":
    "ホストの時計が、Prometheus の時計と 30 秒以上ずれています。",
  "LibreChat's tokens live for minutes: with a wrong clock every one is refused as too early or expired.":
    "LibreChat のトークンの有効期間は数分です。時計がずれていると、すべてのトークンが、早すぎるか期限切れとして拒否されます。",
  "the host's clock": "ホストの時計",
  "the clock as the gateway sees it": "ゲートウェイから見た時計",
  "Start the host's time service again and let it step the clock.":
    "ホストの時刻同期サービスを起動し直し、時計を合わせます。",
  "Make sure that it is this host's clock and not Prometheus'.":
    "ずれているのが、Prometheus の時計ではなく、このホストの時計であることを確認します。",
  "They differ by less than 30 s.": "ずれが 30 秒未満のとき。",

  // KernelyardGatewayStalls
  "The gateway is too busy to answer in time.": "ゲートウェイの負荷が高く、応答が遅れています。",
  "Its event loop stands still for a quarter of a second: every caller waits that long for everything.":
    "イベントループが 0.25 秒間止まっています。どの呼び出し側も、あらゆる応答をそれだけ待たされます。",
  "how many requests are open": "処理中のリクエストの数",
  "which process takes the time": "どのプロセスが CPU 時間を使っているか",
  "Sandboxes take the processors: lower `KERNELYARD_CPUS`, or take more processors.":
    "サンドボックスがプロセッサーを占めている場合: `KERNELYARD_CPUS` を減らすか、プロセッサーを増やします。",
  "The gateway alone is busy: report it with the log.":
    "ゲートウェイだけの負荷が高い場合: ログを添えて報告してください。",
  "The delay is below a quarter of a second.": "遅れが 0.25 秒未満のとき。",

  // KernelyardRequestMemory
  "Requests have used the memory that is theirs.": "リクエスト用のメモリが、ほぼ使い切られています。",
  "Further requests wait or are refused, so that the gateway does not run out of memory.":
    "ゲートウェイのメモリが不足しないように、これ以上のリクエストは待たされるか、拒否されます。",
  "held against the limit": "上限に対する使用量",
  "programs that wait for tools hold memory, too": "ツールを待つプログラムもメモリを使っています",
  "Raise `KERNELYARD_GATEWAY_MEMORY`.": "`KERNELYARD_GATEWAY_MEMORY` を増やします。",
};
