"""The one typed config tree behind `mmpipe.toml`, the environment, the command line and the flows' forms."""

from mmpipe.config.corpora import ClipRule as ClipRule
from mmpipe.config.corpora import ClipsConfig as ClipsConfig
from mmpipe.config.corpora import CorpusConfig as CorpusConfig
from mmpipe.config.corpora import DateRule as DateRule
from mmpipe.config.corpora import DatesConfig as DatesConfig
from mmpipe.config.corpora import LabelsConfig as LabelsConfig
from mmpipe.config.corpora import LimitsConfig as LimitsConfig
from mmpipe.config.corpora import RightsConfig as RightsConfig
from mmpipe.config.corpora import SplitConfig as SplitConfig
from mmpipe.config.models import EncoderConfig as EncoderConfig
from mmpipe.config.models import GateConfig as GateConfig
from mmpipe.config.models import ModelConfig as ModelConfig
from mmpipe.config.models import OptimizerName as OptimizerName
from mmpipe.config.models import TrainConfig as TrainConfig
from mmpipe.config.store import EngineConfig as EngineConfig
from mmpipe.config.store import RetentionConfig as RetentionConfig
from mmpipe.config.table import NAME_PATTERN as NAME_PATTERN
from mmpipe.config.table import Table as Table
from mmpipe.config.tree import CONFIG_NAME as CONFIG_NAME
from mmpipe.config.tree import Config as Config
from mmpipe.config.tree import explain_validation as explain_validation
from mmpipe.config.tree import fault_text as fault_text
from mmpipe.config.tree import load_config as load_config
from mmpipe.config.tree import parse_config as parse_config
from mmpipe.config.tree import resolve_paths as resolve_paths
