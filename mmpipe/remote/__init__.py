"""A store at a URL such as `s3://bucket/prefix`, through fsspec: nothing of it is there unless it is used."""

from mmpipe.remote.age import Upload as Upload
from mmpipe.remote.age import abort_upload as abort_upload
from mmpipe.remote.age import list_uploads as list_uploads
from mmpipe.remote.age import make_young as make_young
from mmpipe.remote.age import remove_unchanged as remove_unchanged
from mmpipe.remote.age import require_conditional_delete as require_conditional_delete
from mmpipe.remote.age import store_now as store_now
from mmpipe.remote.objects import change_object as change_object
from mmpipe.remote.objects import create as create
from mmpipe.remote.objects import create_from_file as create_from_file
from mmpipe.remote.objects import download as download
from mmpipe.remote.objects import put as put
from mmpipe.remote.objects import read_remote_range as read_remote_range
from mmpipe.remote.objects import read_stamped as read_stamped
from mmpipe.remote.objects import require_conditions as require_conditions
from mmpipe.remote.objects import sha256_remote as sha256_remote
from mmpipe.remote.objects import show_copy as show_copy
from mmpipe.remote.objects import swap as swap
from mmpipe.remote.path import RemotePath as RemotePath
from mmpipe.remote.path import RemoteStat as RemoteStat
from mmpipe.remote.path import cache_root as cache_root
from mmpipe.remote.path import local_home as local_home
from mmpipe.remote.path import store_path as store_path
