import com.google.gson.Gson;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.dynamodb.DynamoDbClient;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.cryptography.keystore.KeyStore;
import software.amazon.cryptography.keystore.model.BeaconKeyMaterials;
import software.amazon.cryptography.keystore.model.BranchKeyMaterials;
import software.amazon.cryptography.keystore.model.CreateKeyInput;
import software.amazon.cryptography.keystore.model.CreateKeyStoreInput;
import software.amazon.cryptography.keystore.model.Discovery;
import software.amazon.cryptography.keystore.model.GetActiveBranchKeyInput;
import software.amazon.cryptography.keystore.model.GetBeaconKeyInput;
import software.amazon.cryptography.keystore.model.GetBranchKeyVersionInput;
import software.amazon.cryptography.keystore.model.KMSConfiguration;
import software.amazon.cryptography.keystore.model.KeyStoreConfig;
import software.amazon.cryptography.keystore.model.MRDiscovery;
import software.amazon.cryptography.keystore.model.VersionKeyInput;

/** Does operations of branch key stores, a JSON object a line; see ../../README.md. */
public final class Stores {
  static final class Request {
    String op, table, logicalName, kms, key, region, endpoint, id, version;
    Map<String, String> context;
  }

  static final class Reply {
    String table, id, version, material, error;
    Map<String, String> context;
  }

  static KMSConfiguration configuration(Request asked) {
    KMSConfiguration.Builder b = KMSConfiguration.builder();
    switch (asked.kms) {
      case "key":
        return b.kmsKeyArn(asked.key).build();
      case "multiRegionKey":
        return b.kmsMRKeyArn(asked.key).build();
      case "discovery":
        return b.discovery(Discovery.builder().build()).build();
      default:
        return b.mrDiscovery(MRDiscovery.builder().region(asked.region).build()).build();
    }
  }

  static KeyStore store(Request asked) {
    URI tables = URI.create(System.getenv("AWS_ENDPOINT_URL_DYNAMODB"));
    return KeyStore.builder()
        .KeyStoreConfig(
            KeyStoreConfig.builder()
                .ddbTableName(asked.table)
                .logicalKeyStoreName(asked.logicalName)
                .kmsConfiguration(configuration(asked))
                .ddbClient(DynamoDbClient.builder().region(Region.US_EAST_1).endpointOverride(tables).build())
                .kmsClient(
                    KmsClient.builder().region(Region.of(asked.region)).endpointOverride(URI.create(asked.endpoint)).build())
                .build())
        .build();
  }

  static String base64(ByteBuffer b) {
    byte[] bytes = new byte[b.remaining()];
    b.duplicate().get(bytes);
    return Base64.getEncoder().encodeToString(bytes);
  }

  static Reply answer(Request asked) {
    KeyStore s = store(asked);
    Reply reply = new Reply();
    switch (asked.op) {
      case "createTable":
        reply.table = s.CreateKeyStore(CreateKeyStoreInput.builder().build()).tableArn();
        return reply;
      case "createKey":
        CreateKeyInput.Builder input = CreateKeyInput.builder();
        if (asked.id != null) {
          input.branchKeyIdentifier(asked.id);
        }
        if (asked.context != null) {
          input.encryptionContext(asked.context);
        }
        reply.id = s.CreateKey(input.build()).branchKeyIdentifier();
        return reply;
      case "rotate":
        s.VersionKey(VersionKeyInput.builder().branchKeyIdentifier(asked.id).build());
        return reply;
      case "active":
        return reply(
            s.GetActiveBranchKey(GetActiveBranchKeyInput.builder().branchKeyIdentifier(asked.id).build())
                .branchKeyMaterials());
      case "version":
        return reply(
            s.GetBranchKeyVersion(
                    GetBranchKeyVersionInput.builder()
                        .branchKeyIdentifier(asked.id)
                        .branchKeyVersion(asked.version)
                        .build())
                .branchKeyMaterials());
      default:
        BeaconKeyMaterials beacon =
            s.GetBeaconKey(GetBeaconKeyInput.builder().branchKeyIdentifier(asked.id).build()).beaconKeyMaterials();
        reply.id = beacon.beaconKeyIdentifier();
        reply.context = new HashMap<>(beacon.encryptionContext());
        reply.material = base64(beacon.beaconKey());
        return reply;
    }
  }

  static Reply reply(BranchKeyMaterials key) {
    Reply reply = new Reply();
    reply.id = key.branchKeyIdentifier();
    reply.version = key.branchKeyVersion();
    reply.context = new HashMap<>(key.encryptionContext());
    reply.material = base64(key.branchKey());
    return reply;
  }

  public static void main(String[] args) throws Exception {
    Gson gson = new Gson();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (String line; (line = in.readLine()) != null; ) {
      Reply reply = new Reply();
      try {
        reply = answer(gson.fromJson(line, Request.class));
      } catch (Throwable error) { // whatever it is, the other side judges it
        reply.error = error.toString();
      }
      out.println(gson.toJson(reply));
    }
  }
}
